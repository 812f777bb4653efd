(** Every partial derivative is an entry of the gradient. *)

From Coq Require Import Reals List Lia Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
Require Import Sums Network Backward.
Open Scope R_scope.

(** The direction in which only layer number [at_] moves, as [d] says. *)
Definition still (l : layer) : layer := Layer (outs l) (fun _ _ => 0) (fun _ => 0).

Fixpoint only (net : network) (at_ : nat) (d : layer) : network :=
  match net, at_ with
  | nil, _ => nil
  | l :: after, O => d :: map still after
  | l :: after, S before => still l :: only after before d
  end.

(** One weight, or one bias. *)
Definition one_weight (i j : nat) : layer :=
  Layer 0 (fun r c => if Nat.eqb r i && Nat.eqb c j then 1 else 0)%bool (fun _ => 0).
Definition one_bias (j : nat) : layer :=
  Layer 0 (fun _ _ => 0) (fun c => if Nat.eqb c j then 1 else 0).

(** How many inputs a layer has: the outputs of the one before. *)
Definition inputs_of (ins : nat) (net : network) (at_ : nat) : nat :=
  nth at_ (ins :: map outs net) O.

Lemma only_length net at_ d : length (only net at_ d) = length net.
Proof.
  revert at_; induction net as [| l after IH]; intros [| before]; simpl; auto.
  now rewrite map_length.
Qed.

Lemma inner_still g : forall net ins, inner ins g (map still net) = 0.
Proof.
  induction g as [| l ls IH]; intros [| m ms] ins; simpl; try easy; rewrite IH.
  rewrite !sum_zeros; [lra | intros; simpl; ring |].
  intros; apply sum_zeros; intros; simpl; ring.
Qed.

(** ** The input of a layer

    (15)  If h moves, and no parameter does, the loss moves as J Wᵀ says. *)

Lemma moved_still net : forall t, moved net (map still net) t = net.
Proof.
  induction net as [| [m w v] after IH]; intros t; simpl; auto; rewrite IH; f_equal.
  unfold moved_layer; simpl; f_equal; repeat (apply functional_extensionality; intros); ring.
Qed.

Theorem eq_15 f f' N y ins l after (h : R -> array) (dh : array) :
  hidden_after f N (differentiable f f') (outs l) after (affine ins l (h 0)) ->
  (forall n i, (n < N)%nat -> (i < ins)%nat -> is_derive (fun t => h t n i) 0 (dh n i)) ->
  is_derive (fun t => Λ f N y (outs l) after (affine ins l (h t))) 0
    (Σ (n < N) Σ (i < ins)
       (Σ (j < outs l) (J f f' N y (outs l) after (affine ins l (h 0)) n j * W l i j) * dh n i)).
Proof.
  intros smooth moving.
  apply is_derive_ext with
    (fun t => Λ f N y (outs l) (moved after (map still after) t) (affine ins l (h t))).
  { intros t; now rewrite moved_still. }
  apply is_derive_value with
    (Σ (n < N) Σ (j < outs l) (J f f' N y (outs l) after (affine ins l (h 0)) n j
       * (Σ (i < ins) (dh n i * W l i j + h 0 n i * W (still l) i j) + b (still l) j))
     + inner (outs l)
         (manual_grad f f' N y (outs l) after (activated f (affine ins l (h 0))))
         (map still after)).
  - apply (eq_16 f f' N y after (map still after) (outs l) (fun t => affine ins l (h t))
             (fun n j => Σ (i < ins) (dh n i * W l i j + h 0 n i * W (still l) i j)
                         + b (still l) j)).
    + apply map_length.
    + now apply differentiable_chain_rule_after.
    + intros n j small _.
      apply is_derive_ext with (fun t => affine ins (moved_layer l (still l) t) (h t) n j).
      { intros t; unfold affine, moved_layer; simpl; rewrite Rmult_0_r, Rplus_0_r; f_equal.
        apply sum_ext; intros; ring. }
      apply affine_moves; auto.
  - rewrite inner_still, eq_13_14_15, (sum_zeros ins), (sum_zeros (outs l)).
    + ring.
    + intros; simpl; ring.
    + intros; apply sum_zeros; intros; simpl; ring.
Qed.

Lemma inner_one_weight ins l i j :
  (i < ins)%nat -> (j < outs l)%nat ->
  Σ (r < ins) Σ (c < outs l) (W l r c * W (one_weight i j) r c)
  + Σ (c < outs l) (b l c * b (one_weight i j) c) = W l i j.
Proof.
  intros row column; simpl; rewrite (sum_zeros (outs l)) by (intros; ring).
  rewrite (sum_single ins i), (sum_single (outs l) j); auto.
  - rewrite !Nat.eqb_refl; simpl; ring.
  - intros c _ other; rewrite (proj2 (Nat.eqb_neq c j) other), Bool.andb_false_r; ring.
  - intros r _ other; apply sum_zeros; intros.
    rewrite (proj2 (Nat.eqb_neq r i) other); simpl; ring.
Qed.

Lemma inner_one_bias ins l j :
  (j < outs l)%nat ->
  Σ (r < ins) Σ (c < outs l) (W l r c * W (one_bias j) r c)
  + Σ (c < outs l) (b l c * b (one_bias j) c) = b l j.
Proof.
  intros column; simpl; rewrite (sum_zeros ins), (sum_single (outs l) j); auto.
  - rewrite Nat.eqb_refl; ring.
  - intros c _ other; rewrite (proj2 (Nat.eqb_neq c j) other); ring.
  - intros; apply sum_zeros; intros; ring.
Qed.

(** The inner product with a direction in which one layer moves is that with this layer. *)
Lemma inner_only g : forall net ins at_ d l,
  length g = length net -> map outs g = map outs net -> nth_error g at_ = Some l ->
  inner ins g (only net at_ d)
  = Σ (i < inputs_of ins net at_) Σ (j < outs l) (W l i j * W d i j)
    + Σ (j < outs l) (b l j * b d j).
Proof.
  induction g as [| k g IH]; intros [| m net] ins [| at_] d l; simpl; try discriminate;
    intros long wide found.
  - injection found as ->; rewrite inner_still; unfold inputs_of; simpl; ring.
  - rewrite (IH net (outs k) at_ d l) by (congruence || lia).
    injection wide as same wide.
    assert (Σ (i < ins) Σ (j < outs k) (W k i j * 0) = 0) as ->.
    { apply sum_zeros; intros; apply sum_zeros; intros; ring. }
    assert (Σ (j < outs k) (b k j * 0) = 0) as -> by (apply sum_zeros; intros; ring).
    unfold inputs_of; destruct at_; simpl; rewrite ?same; ring.
Qed.

Section Partial.

Variables (f f' : R -> R) (N ins : nat) (x y : array) (net : network).
Hypothesis differentiable_everywhere : every_hidden_z f N (differentiable f f') ins net x.

Lemma grad_outs : forall net ins h, map outs (manual_grad f f' N y ins net h) = map outs net.
Proof. induction net0 as [| l after IH]; simpl; intros; f_equal; auto. Qed.

Lemma grad_length : forall net ins h, length (manual_grad f f' N y ins net h) = length net.
Proof. induction net0 as [| l after IH]; simpl; intros; auto. Qed.

Variables (at_ : nat) (g : layer).
Hypothesis found : nth_error (manual_grad f f' N y ins net x) at_ = Some g.

(** (13)  The derivative of the loss by one weight. *)
Theorem partial_weight i j :
  (i < inputs_of ins net at_)%nat -> (j < outs g)%nat ->
  is_derive (fun t => loss f N y ins (moved net (only net at_ (one_weight i j)) t) x) 0 (W g i j).
Proof.
  intros row column; apply is_derive_value with
    (inner ins (manual_grad f f' N y ins net x) (only net at_ (one_weight i j))).
  - apply backpropagation_is_the_derivative; auto using only_length.
  - rewrite (inner_only _ _ _ _ _ g) by auto using grad_length, grad_outs.
    now apply inner_one_weight.
Qed.

(** (14)  And by one bias. *)
Theorem partial_bias j :
  (j < outs g)%nat ->
  is_derive (fun t => loss f N y ins (moved net (only net at_ (one_bias j)) t) x) 0 (b g j).
Proof.
  intros column; apply is_derive_value with
    (inner ins (manual_grad f f' N y ins net x) (only net at_ (one_bias j))).
  - apply backpropagation_is_the_derivative; auto using only_length.
  - rewrite (inner_only _ _ _ _ _ g) by auto using grad_length, grad_outs.
    now apply inner_one_bias.
Qed.

End Partial.
