(** ReLU at its kink: where the recursion is right all the same, and where it is not. *)

From Coq Require Import Reals List Lia Lra.
From Coquelicot Require Import Coquelicot.
Require Import Sums Network Backward Activations Further.
Open Scope R_scope.

(** At 0 the slopes on the left and on the right are 0 and 1. *)
Lemma eq_22_left : filterlim (fun t => (relu t - relu 0) / t) (at_left 0) (locally 0).
Proof.
  apply filterlim_ext_loc with (fun _ => 0); [| apply filterlim_const].
  exists (mkposreal 1 Rlt_0_1); intros t _ below; unfold relu.
  rewrite (Rmax_right t 0), (Rmax_right 0 0) by lra; field; lra.
Qed.

Lemma eq_22_right : filterlim (fun t => (relu t - relu 0) / t) (at_right 0) (locally 1).
Proof.
  apply filterlim_ext_loc with (fun _ => 1); [| apply filterlim_const].
  exists (mkposreal 1 Rlt_0_1); intros t _ above; unfold relu.
  rewrite (Rmax_left t 0), (Rmax_right 0 0) by lra; field; lra.
Qed.

(** (22)  And what the recursion takes there, 0, is a convex combination of the two: that on the
    left. *)
Theorem eq_22 :
  filterlim (fun t => (relu t - relu 0) / t) (at_left 0) (locally 0)
  /\ filterlim (fun t => (relu t - relu 0) / t) (at_right 0) (locally 1)
  /\ relu' 0 = 0
  /\ exists c, 0 <= c <= 1 /\ relu' 0 = c * 1 + (1 - c) * 0.
Proof.
  split; [apply eq_22_left |]; split; [apply eq_22_right |].
  assert (zero : relu' 0 = 0) by (unfold relu'; destruct (Rlt_dec 0 0); lra).
  split; [easy |]; exists 0; lra.
Qed.

(** ReLU's derivative with any value [c] at 0. *)
Definition relu'_at_0 (c z : R) : R :=
  if Rlt_dec 0 z then 1 else if Req_EM_T z 0 then c else 0.

Lemma relu'_off_0 c z : z <> 0 -> relu'_at_0 c z = relu' z.
Proof.
  intros off; unfold relu'_at_0, relu'; destruct (Rlt_dec 0 z); [easy |].
  now destruct (Req_EM_T z 0).
Qed.

(** The chain rule holds along a z that is not 0, or that stays 0. *)
Lemma chain_rule_or_still c z :
  z 0 <> 0 \/ locally 0 (fun t => z t = 0) -> chain_rule relu (relu'_at_0 c) z.
Proof.
  intros [off | still].
  - apply differentiable_chain_rule; unfold differentiable.
    rewrite relu'_off_0 by easy; now apply eq_17.
  - intros v moving.
    assert (v = 0) as ->.
    { rewrite <- (is_derive_unique z 0 v moving).
      rewrite (Derive_ext_loc z (fun _ => 0)) by easy; apply Derive_const. }
    rewrite Rmult_0_r; apply is_derive_ext_loc with (fun _ => 0).
    + apply filter_imp with (2 := still); intros t ->; unfold relu; now rewrite Rmax_left by lra.
    + apply (is_derive_const (V := R_NormedModule)).
Qed.

Section Along.

Variables (N : nat) (y : array) (c : R).

(** Every z of a hidden layer is not 0, or stays 0 as the parameters move. *)
Fixpoint off_or_still_after (k : nat) (net direction : network) (z : R -> array) : Prop :=
  match net, direction with
  | l :: after, d :: ds =>
      (forall n i, (n < N)%nat -> (i < k)%nat ->
         z 0 n i <> 0 \/ locally 0 (fun t => z t n i = 0))
      /\ off_or_still_after (outs l) after ds
           (fun t => affine k (moved_layer l d t) (activated relu (z t)))
  | _, _ => True
  end.

Definition off_or_still (ins : nat) (net direction : network) (x : array) : Prop :=
  match net, direction with
  | l :: after, d :: ds =>
      off_or_still_after (outs l) after ds (fun t => affine ins (moved_layer l d t) x)
  | _, _ => True
  end.

(** (23)  Then the recursion is the derivative, whatever value ReLU' has at 0. *)
Theorem eq_23 ins x net direction :
  length direction = length net ->
  off_or_still ins net direction x ->
  the_gradient_is_right relu (relu'_at_0 c) N y ins x net direction.
Proof.
  unfold the_gradient_is_right; destruct net as [| l after], direction as [| d ds];
    intros same condition; try discriminate.
  - simpl; apply (is_derive_const (V := R_NormedModule)).
  - apply loss_moves; [now injection same |]; simpl in condition; revert condition.
    generalize (outs l) (fun t => affine ins (moved_layer l d t) x); clear.
    revert ds; induction after as [| l after IH]; intros [| d ds] k z; simpl; try easy.
    intros [here there]; split; [| now apply IH].
    intros n i; intros; apply chain_rule_or_still; auto.
Qed.

End Along.

(** (24)  Where it is not: one input, one hidden unit of weight w, two outputs of weights 1 and 0;
    the example 1 is of the first class, the example −1 of the second. *)
Definition two : network :=
  Layer 1 (fun _ _ => 0) (fun _ => 0)
  :: Layer 2 (fun _ j => if Nat.eqb j 0 then 1 else 0) (fun _ => 0) :: nil.
Definition by_w : network :=
  Layer 1 (fun _ _ => 1) (fun _ => 0) :: Layer 2 (fun _ _ => 0) (fun _ => 0) :: nil.
Definition inputs : array := fun n _ => if Nat.eqb n 0 then 1 else -1.

(** log pᵢ of the logits (r, 0). *)
Lemma log_p_of_two z r :
  z O = r -> z 1%nat = 0 ->
  ln (softmax 2 z 0) = - ln (1 + exp (- r)) /\ ln (softmax 2 z 1) = - ln (1 + exp r).
Proof.
  intros first second; rewrite !log_softmax by lia; simpl; rewrite first, second, exp_0.
  assert (a := exp_pos r); assert (b := exp_pos (- r)); split.
  - replace (0 + exp r + 1) with (exp r * (1 + exp (- r))).
    + rewrite ln_mult, ln_exp by lra; ring.
    + rewrite Rmult_plus_distr_l, <- exp_plus, Rplus_opp_r, exp_0; ring.
  - rewrite Rplus_0_l, (Rplus_comm 1); ring.
Qed.

(** The loss is ½ log(1 + exp(−w)) + ½ log 2, on both sides of 0. *)
Lemma loss_of_two w :
  loss relu 2 class 1 (moved two by_w w) inputs = 1 / 2 * (ln (1 + exp (- w)) + ln 2).
Proof.
  unfold loss, two, by_w; simpl; unfold mean_cost; simpl; rewrite !eq_8 by lia.
  set (z := affine 1 _ _).
  assert (z_is : forall n, z n O = relu (inputs n O * w) /\ z n 1%nat = 0).
  { intros n; unfold z, affine, activated, moved_layer; simpl; split; [| ring].
    replace (0 + inputs n 0%nat * (0 + w * 1) + (0 + w * 0)) with (inputs n 0%nat * w) by ring.
    ring. }
  destruct (z_is O) as [a b], (z_is 1%nat) as [c d].
  rewrite (proj1 (log_p_of_two _ _ a b)), (proj2 (log_p_of_two _ _ c d)).
  unfold inputs, relu; simpl; rewrite Rmult_1_l.
  replace (-1 * w) with (- w) by ring; destruct (Rle_dec 0 w).
  - rewrite (Rmax_left w), (Rmax_right (- w)), exp_0 by lra.
    replace (1 + 1) with 2 by ring; field.
  - rewrite (Rmax_right w), (Rmax_left (- w)), Ropp_0, exp_0 by lra.
    replace (1 + 1) with 2 by ring; field.
Qed.

(** So its derivative at w = 0 is −1/4; the recursion has 0 there. *)
Theorem eq_24 :
  is_derive (fun w => loss relu 2 class 1 (moved two by_w w) inputs) 0 (- (1 / 4))
  /\ inner 1 (manual_grad relu relu' 2 class 1 two inputs) by_w = 0.
Proof.
  split.
  - apply is_derive_ext with (fun w => 1 / 2 * (ln (1 + exp (- w)) + ln 2)).
    { intros; symmetry; apply loss_of_two. }
    auto_derive; rewrite Ropp_0, exp_0; [lra | field].
  - simpl; unfold relu'.
    assert (forall n, affine 1 (Layer 1 (fun _ _ => 0) (fun _ => 0)) inputs n O = 0) as none.
    { intros; unfold affine; simpl; ring. }
    rewrite !none; destruct (Rlt_dec 0 0); lra.
Qed.
