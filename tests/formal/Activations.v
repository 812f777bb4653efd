(** The activations, and the theorem for each of them. *)

From Coq Require Import Reals List Lia Lra.
From Coquelicot Require Import Coquelicot.
Require Import Sums Network Backward.
Open Scope R_scope.

(** ** ReLU (17) *)

Definition relu (z : R) : R := Rmax z 0.
Definition relu' (z : R) : R := if Rlt_dec 0 z then 1 else 0.

(** Away from its kink, on either side. *)
Lemma eq_17 z : z <> 0 -> is_derive relu z (relu' z).
Proof.
  intros off; unfold relu, relu'; destruct (Rlt_dec 0 z) as [on | below].
  - apply is_derive_ext_loc with (fun v => v); [| apply (is_derive_id (K := R_AbsRing))].
    exists (mkposreal z on); intros v near; symmetry; apply Rmax_left.
    apply Rabs_lt_between' in near; simpl in near; lra.
  - assert (0 < - z) as away by lra.
    apply is_derive_ext_loc with (fun _ => 0); [| apply (is_derive_const (V := R_NormedModule))].
    exists (mkposreal (- z) away); intros v near; symmetry; apply Rmax_right.
    apply Rabs_lt_between' in near; simpl in near; lra.
Qed.

(** ** Hyperbolic tangent (18) *)

Definition tanh' (z : R) : R := (1 - tanh z) * (1 + tanh z).

Lemma eq_18 z : is_derive tanh z (tanh' z).
Proof.
  assert (0 < exp z + exp (- z)) by (assert (a := exp_pos z); assert (b := exp_pos (- z)); lra).
  unfold tanh', tanh, sinh, cosh; auto_derive; [lra | field; lra].
Qed.

(** ** Sigmoid (19) *)

Definition sigmoid (z : R) : R := / (1 + exp (- z)).
Definition sigmoid' (z : R) : R := sigmoid z * (1 - sigmoid z).

Lemma eq_19 z : is_derive sigmoid z (sigmoid' z).
Proof.
  assert (positive := exp_pos (- z)).
  unfold sigmoid', sigmoid; auto_derive; [lra | field; lra].
Qed.

(** ** GELU (20)

    Φ is 1/2 at 0, by symmetry, and its derivative is the normal density φ. *)

Definition φ (t : R) : R := / sqrt (2 * PI) * exp (- (t ^ 2 / 2)).
Definition Φ (z : R) : R := 1 / 2 + RInt φ 0 z.
Definition gelu (z : R) : R := z * Φ z.
Definition gelu' (z : R) : R := Φ z + z * φ z.

Lemma φ_continuous t : continuous φ t.
Proof. apply (ex_derive_continuous φ); unfold φ; auto_derive; easy. Qed.

Lemma eq_20_1 z : is_derive Φ z (φ z).
Proof.
  unfold Φ; rewrite <- (Rplus_0_l (φ z)).
  apply (is_derive_plus (fun _ => 1 / 2) (fun v => RInt φ 0 v)).
  - apply (is_derive_const (V := R_NormedModule)).
  - apply (is_derive_RInt φ (fun v => RInt φ 0 v) 0 z).
    + exists (mkposreal 1 Rlt_0_1); intros v _.
      apply (RInt_correct φ 0 v), (ex_RInt_continuous φ); intros; apply φ_continuous.
    + apply φ_continuous.
Qed.

Lemma eq_20 z : is_derive gelu z (gelu' z).
Proof.
  unfold gelu, gelu'; rewrite <- (Rmult_1_l (Φ z)) at 1.
  apply (is_derive_mult (fun v => v) Φ).
  - apply (is_derive_id (K := R_AbsRing)).
  - apply eq_20_1.
  - intros; apply Rmult_comm.
Qed.

(** ** Identity (21) *)

Definition identity (z : R) : R := z.
Definition identity' (_ : R) : R := 1.

Lemma eq_21 z : is_derive identity z (identity' z).
Proof. apply (is_derive_id (K := R_AbsRing)). Qed.

(** ** The theorem for each of them *)

Lemma hidden_weaken f N (P Q : R -> Prop) : (forall v, P v -> Q v) ->
  forall net k z, hidden_after f N P k net z -> hidden_after f N Q k net z.
Proof.
  intros weaker; induction net as [| l after IH]; simpl; intros k z; [easy |].
  intros [here there]; split; auto.
Qed.

Lemma every_hidden_z_weaken f N (P Q : R -> Prop) ins net x :
  (forall v, P v -> Q v) -> every_hidden_z f N P ins net x -> every_hidden_z f N Q ins net x.
Proof. destruct net; simpl; [easy |]; intros; eapply hidden_weaken; eauto. Qed.

Lemma every_hidden_z_holds f N (P : R -> Prop) ins net x :
  (forall v, P v) -> every_hidden_z f N P ins net x.
Proof.
  intros all; destruct net as [| l after]; simpl; [easy |].
  generalize (outs l) (affine ins l x); induction after; simpl; auto.
Qed.

(** The derivative of the loss along a direction is the inner product of the gradient with it. *)
Definition the_gradient_is_right f f' N y ins x net direction :=
  is_derive (fun t => loss f N y ins (moved net direction t) x) 0
    (inner ins (manual_grad f f' N y ins net x) direction).

Section Each.

Variables (N ins : nat) (x y : array) (net direction : network).
Hypothesis same : length direction = length net.

(** A ReLU network, where no z of a hidden layer is exactly 0. *)
Theorem relu_networks :
  every_hidden_z relu N (fun z => z <> 0) ins net x ->
  the_gradient_is_right relu relu' N y ins x net direction.
Proof.
  intros off; apply backpropagation_is_the_derivative; auto.
  now apply (every_hidden_z_weaken _ _ _ _ _ _ _ eq_17).
Qed.

(** An activation that is differentiable everywhere: no condition is left. *)
Lemma smooth_networks f f' :
  (forall z, is_derive f z (f' z)) -> the_gradient_is_right f f' N y ins x net direction.
Proof. intros; apply backpropagation_is_the_derivative; auto; now apply every_hidden_z_holds. Qed.

Theorem tanh_networks : the_gradient_is_right tanh tanh' N y ins x net direction.
Proof. apply smooth_networks, eq_18. Qed.

Theorem sigmoid_networks : the_gradient_is_right sigmoid sigmoid' N y ins x net direction.
Proof. apply smooth_networks, eq_19. Qed.

Theorem gelu_networks : the_gradient_is_right gelu gelu' N y ins x net direction.
Proof. apply smooth_networks, eq_20. Qed.

Theorem identity_networks : the_gradient_is_right identity identity' N y ins x net direction.
Proof. apply smooth_networks, eq_21. Qed.

End Each.
