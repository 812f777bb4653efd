(** The backward recursion is the derivative of the loss. *)

From Coq Require Import Reals List Lia Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
Require Import Sums Network.
Open Scope R_scope.

(** ** Softmax and cross-entropy *)

Lemma sum_exp_positive k z j : (j < k)%nat -> 0 < Σ (i < k) exp (z i).
Proof. intros; apply sum_positive; [lia | intros; apply exp_pos]. Qed.

(** log p_j = z_j − log Σ exp z: (5) without the shift. *)
Lemma log_softmax k z j : (j < k)%nat -> ln (softmax k z j) = z j - ln (Σ (i < k) exp (z i)).
Proof.
  intros small; assert (positive := sum_exp_positive k z j small).
  unfold softmax; rewrite ln_div; auto using exp_pos.
  now rewrite ln_exp.
Qed.

Section Softmax.

(** A row of logits that moves: [dz] is its velocity at time 0. *)
Variables (k : nat) (z : R -> nat -> R) (dz : nat -> R).
Hypothesis moving : forall i, (i < k)%nat -> is_derive (fun t => z t i) 0 (dz i).

(** (9.1)  The derivative of S = Σ exp z. *)
Lemma eq_9_1 :
  is_derive (fun t => Σ (i < k) exp (z t i)) 0 (Σ (i < k) (exp (z 0 i) * dz i)).
Proof.
  apply (is_derive_sum k (fun i t => exp (z t i))); intros i small.
  rewrite Rmult_comm; apply (is_derive_comp exp (fun t => z t i)).
  - apply is_derive_exp.
  - now apply moving.
Qed.

(** (10)  ∂ log p_j / ∂z_i = δ_ij − p_i. *)
Lemma eq_10 j :
  (j < k)%nat ->
  is_derive (fun t => ln (softmax k (z t) j)) 0 (dz j - Σ (i < k) (softmax k (z 0) i * dz i)).
Proof.
  intros small; assert (positive := sum_exp_positive k (z 0) j small).
  apply is_derive_ext with (fun t => z t j - ln (Σ (i < k) exp (z t i))).
  { intros t; symmetry; now apply log_softmax. }
  apply (is_derive_minus (fun t => z t j) (fun t => ln (Σ (i < k) exp (z t i)))).
  { now apply moving. }
  replace (Σ (i < k) (softmax k (z 0) i * dz i))
    with (scal (Σ (i < k) (exp (z 0 i) * dz i)) (/ Σ (i < k) exp (z 0 i))).
  { apply (is_derive_comp ln (fun t => Σ (i < k) exp (z t i))).
    - now apply is_derive_ln.
    - apply eq_9_1. }
  unfold scal; simpl; unfold mult; simpl; rewrite <- sum_scal_r.
  apply sum_ext; intros; unfold softmax; field; lra.
Qed.

(** (9)  ∂p_j / ∂z_i = p_j (δ_ij − p_i). *)
Lemma eq_9 j :
  (j < k)%nat ->
  is_derive (fun t => softmax k (z t) j) 0
    (softmax k (z 0) j * (dz j - Σ (i < k) (softmax k (z 0) i * dz i))).
Proof.
  intros small.
  assert (exponential : forall t, exp (ln (softmax k (z t) j)) = softmax k (z t) j).
  { intros; apply exp_ln, Rdiv_lt_0_compat; eauto using exp_pos, sum_exp_positive. }
  apply is_derive_ext with (fun t => exp (ln (softmax k (z t) j))); [easy |].
  rewrite <- (exponential 0), exponential at 1.
  replace (softmax k (z 0) j * (dz j - Σ (i < k) (softmax k (z 0) i * dz i)))
    with (scal (dz j - Σ (i < k) (softmax k (z 0) i * dz i)) (exp (ln (softmax k (z 0) j)))).
  { apply (is_derive_comp exp (fun t => ln (softmax k (z t) j))); auto using is_derive_exp, eq_10. }
  rewrite exponential; unfold scal; simpl; unfold mult; simpl; ring.
Qed.

(** (11)  ∂C / ∂z_j = p_j Σ y − y_j, whatever the sum of the labels is. *)
Lemma eq_11 labels :
  is_derive (fun t => cross_entropy k (z t) labels) 0
    (Σ (j < k) ((softmax k (z 0) j * Σ (i < k) labels i - labels j) * dz j)).
Proof.
  unfold cross_entropy.
  replace (Σ (j < k) ((softmax k (z 0) j * Σ (i < k) labels i - labels j) * dz j))
    with (opp (Σ (j < k) (labels j * (dz j - Σ (i < k) (softmax k (z 0) i * dz i))))).
  { apply (is_derive_opp (fun t => Σ (j < k) (labels j * ln (softmax k (z t) j)))).
    apply (is_derive_sum k (fun j t => labels j * ln (softmax k (z t) j))); intros j small.
    apply (is_derive_scal (fun t => ln (softmax k (z t) j))); now apply eq_10. }
  set (inside := Σ (i < k) (softmax k (z 0) i * dz i)).
  rewrite (sum_ext k _ (fun j => labels j * dz j - labels j * inside)) by (intros; ring).
  rewrite (sum_ext k (fun j => (softmax k (z 0) j * Σ (i < k) labels i - labels j) * dz j)
             (fun j => Σ (i < k) labels i * (softmax k (z 0) j * dz j) - labels j * dz j))
    by (intros; ring).
  rewrite !sum_minus, sum_scal, sum_scal_r; fold inside.
  apply Ropp_minus_distr.
Qed.

End Softmax.

(** ** Layers *)

Section Recursion.

Variables (f f' : R -> R) (N : nat) (y : array).

(** [f'] is the derivative of [f] at [v]. *)
Definition differentiable (v : R) : Prop := is_derive f v (f' v).

(** The chain rule holds for [f] along [z], a number that moves: as it does where [f] is
    differentiable. *)
Definition chain_rule (z : R -> R) : Prop :=
  forall v, is_derive z 0 v -> is_derive (fun t => f (z t)) 0 (f' (z 0) * v).

Lemma differentiable_chain_rule z : differentiable (z 0) -> chain_rule z.
Proof. intros slope v moving; rewrite Rmult_comm; now apply (is_derive_comp f z). Qed.

(** (12)  ∂L / ∂z at the logits: 1/N comes in here. *)
Lemma eq_12 k (z : R -> array) (dz : array) :
  (forall n i, (n < N)%nat -> (i < k)%nat -> is_derive (fun t => z t n i) 0 (dz n i)) ->
  is_derive (fun t => mean_cost N y k (z t)) 0
    (Σ (n < N) Σ (j < k) (J f f' N y k nil (z 0) n j * dz n j)).
Proof.
  intros moving; unfold mean_cost; simpl.
  replace (Σ (n < N) Σ (j < k) (_ * dz n j))
    with (/ INR N * Σ (n < N) Σ (j < k)
            ((softmax k (z 0 n) j * Σ (i < k) y n i - y n j) * dz n j)).
  { apply (is_derive_scal (fun t => Σ (n < N) cross_entropy k (z t n) (y n))).
    apply (is_derive_sum N (fun n t => cross_entropy k (z t n) (y n))); intros n small.
    apply (eq_11 k (fun t => z t n)); auto. }
  rewrite <- sum_scal; apply sum_ext; intros n _.
  rewrite <- sum_scal; apply sum_ext; intros; ring.
Qed.

(** (2)  The derivative of z = h W + b: by h (15.1), by W (13.1) and by b (14.1). *)
Lemma affine_moves ins (l d : layer) (h : R -> array) (dh : array) n j :
  (forall i, (i < ins)%nat -> is_derive (fun t => h t n i) 0 (dh n i)) ->
  is_derive (fun t => affine ins (moved_layer l d t) (h t) n j) 0
    (Σ (i < ins) (dh n i * W l i j + h 0 n i * W d i j) + b d j).
Proof.
  intros moving; unfold affine, moved_layer; simpl.
  apply (is_derive_plus (fun t => Σ (i < ins) (h t n i * (W l i j + t * W d i j)))).
  - apply (is_derive_sum ins (fun i t => h t n i * (W l i j + t * W d i j))); intros i small.
    replace (dh n i * W l i j + h 0 n i * W d i j)
      with (dh n i * (W l i j + 0 * W d i j) + h 0 n i * W d i j) by ring.
    apply (is_derive_mult (fun t => h t n i) (fun t => W l i j + t * W d i j)).
    + now apply moving.
    + auto_derive; [easy | ring].
    + intros; apply Rmult_comm.
  - auto_derive; [easy | ring].
Qed.

Lemma moved_layer_0 l d : moved_layer l d 0 = l.
Proof.
  destruct l as [m w v]; unfold moved_layer; simpl; f_equal;
    repeat (apply functional_extensionality; intros); ring.
Qed.

Lemma moved_0 net : forall d, moved net d 0 = net.
Proof.
  induction net as [| l after IH]; intros [| m ds]; simpl; auto.
  now rewrite moved_layer_0, IH.
Qed.

(** (13), (14) and (15): if J is the derivative by z = h W + b, then hᵀ J is that by W, Σₙ J that
    by b, and J Wᵀ that by h. *)
Lemma eq_13_14_15 ins l (d : layer) (h dh J' : array) :
  Σ (n < N) Σ (j < outs l)
     (J' n j * (Σ (i < ins) (dh n i * W l i j + h n i * W d i j) + b d j))
  = Σ (n < N) Σ (i < ins) (Σ (j < outs l) (J' n j * W l i j) * dh n i)
    + (Σ (i < ins) Σ (j < outs l) (Σ (n < N) (h n i * J' n j) * W d i j)
       + Σ (j < outs l) (Σ (n < N) J' n j * b d j)).
Proof.
  rewrite (sum_ext (outs l) (fun j => Σ (n < N) J' n j * b d j)
             (fun j => Σ (n < N) (J' n j * b d j))) by (intros; now rewrite sum_scal_r).
  rewrite (sum_swap (outs l) N).
  rewrite (sum_ext ins (fun i => Σ (j < outs l) (Σ (n < N) (h n i * J' n j) * W d i j))
             (fun i => Σ (n < N) Σ (j < outs l) (h n i * J' n j * W d i j))).
  2: { intros; rewrite sum_swap; apply sum_ext; intros; now rewrite sum_scal_r. }
  rewrite (sum_swap ins N), <- !sum_plus; apply sum_ext; intros n _.
  rewrite (sum_ext ins (fun i => Σ (j < outs l) (J' n j * W l i j) * dh n i)
             (fun i => Σ (j < outs l) (J' n j * W l i j * dh n i)))
    by (intros; now rewrite sum_scal_r).
  rewrite !(sum_swap ins (outs l)), <- !sum_plus; apply sum_ext; intros j _.
  rewrite Rmult_plus_distr_l, <- sum_scal, <- Rplus_assoc, <- sum_plus; f_equal.
  apply sum_ext; intros; ring.
Qed.

(** It holds along every entry of z in every hidden layer, as z and the layers after it move. *)
Fixpoint chain_rule_after (k : nat) (net direction : network) (z : R -> array) : Prop :=
  match net, direction with
  | l :: after, d :: ds =>
      (forall n i, (n < N)%nat -> (i < k)%nat -> chain_rule (fun t => z t n i))
      /\ chain_rule_after (outs l) after ds
           (fun t => affine k (moved_layer l d t) (activated f (z t)))
  | _, _ => True
  end.

(** The induction: if z moves, and all layers after it, then Λ moves as J and the gradient say.
    The step is (16): J at z is (J' Wᵀ) ⊙ f'(z). *)
Lemma eq_16 net : forall direction k (z : R -> array) (dz : array),
  length direction = length net ->
  chain_rule_after k net direction z ->
  (forall n i, (n < N)%nat -> (i < k)%nat -> is_derive (fun t => z t n i) 0 (dz n i)) ->
  is_derive (fun t => Λ f N y k (moved net direction t) (z t)) 0
    (Σ (n < N) Σ (i < k) (J f f' N y k net (z 0) n i * dz n i)
     + inner k (manual_grad f f' N y k net (activated f (z 0))) direction).
Proof.
  induction net as [| l after IH]; intros [| d ds] k z dz; simpl; try discriminate;
    intros same rule moving.
  - rewrite Rplus_0_r; now apply eq_12.
  - destruct rule as [here rule].
    set (h := fun t => activated f (z t)).
    set (dh := fun n i => f' (z 0 n i) * dz n i).
    set (next := fun t => affine k (moved_layer l d t) (h t)).
    assert (now : next 0 = affine k l (h 0)) by (unfold next; now rewrite moved_layer_0).
    specialize (IH ds (outs l) next
      (fun n j => Σ (i < k) (dh n i * W l i j + h 0 n i * W d i j) + b d j)).
    rewrite now in IH.
    apply is_derive_value with
      (Σ (n < N) Σ (j < outs l) (J f f' N y (outs l) after (affine k l (h 0)) n j
         * (Σ (i < k) (dh n i * W l i j + h 0 n i * W d i j) + b d j))
       + inner (outs l)
           (manual_grad f f' N y (outs l) after (activated f (affine k l (h 0)))) ds).
    + apply IH; auto; intros n j small _; apply affine_moves; intros i below.
      apply (here n i small below); now apply moving.
    + rewrite eq_13_14_15, !Rplus_assoc; f_equal.
      apply sum_ext; intros n _; apply sum_ext; intros i _; unfold dh, h; ring.
Qed.

(** The same for the whole network, of which all parameters move. *)
Lemma loss_moves ins x l after d ds :
  length ds = length after ->
  chain_rule_after (outs l) after ds (fun t => affine ins (moved_layer l d t) x) ->
  is_derive (fun t => loss f N y ins (moved (l :: after) (d :: ds) t) x) 0
    (inner ins (manual_grad f f' N y ins (l :: after) x) (d :: ds)).
Proof.
  intros same rule; simpl.
  set (z := fun t => affine ins (moved_layer l d t) x).
  assert (now : z 0 = affine ins l x) by (unfold z; now rewrite moved_layer_0).
  assert (moving := eq_16 after ds (outs l) z
    (fun n j => Σ (i < ins) (0 * W l i j + x n i * W d i j) + b d j)).
  rewrite now in moving.
  apply is_derive_value with
    (Σ (n < N) Σ (j < outs l) (J f f' N y (outs l) after (affine ins l x) n j
       * (Σ (i < ins) (0 * W l i j + x n i * W d i j) + b d j))
     + inner (outs l)
         (manual_grad f f' N y (outs l) after (activated f (affine ins l x))) ds).
  - apply moving; auto; intros n j _ _; apply (affine_moves ins l d (fun _ => x) (fun _ _ => 0)).
    intros; apply (is_derive_const (V := R_NormedModule)).
  - rewrite (eq_13_14_15 ins l d x (fun _ _ => 0)), !Rplus_assoc.
    rewrite (sum_zeros N), Rplus_0_l; [reflexivity |].
    intros; apply sum_zeros; intros; ring.
Qed.

Lemma differentiable_chain_rule_after net : forall direction k (z : R -> array),
  hidden_after f N differentiable k net (z 0) -> chain_rule_after k net direction z.
Proof.
  induction net as [| l after IH]; intros [| d ds] k z; simpl; try easy; intros [here there].
  split.
  - intros n i; intros; apply differentiable_chain_rule; auto.
  - apply IH; now rewrite moved_layer_0.
Qed.

(** ** The theorem

    (32)  Along every direction, the derivative of the loss is the inner product of the gradient with
    it: for every depth, all widths, every batch and all labels, if the activation is
    differentiable at all z of the hidden layers. *)
Theorem backpropagation_is_the_derivative :
  forall (ins : nat) (x : array) (net direction : network),
  length direction = length net ->
  every_hidden_z f N differentiable ins net x ->
  is_derive (fun t => loss f N y ins (moved net direction t) x) 0
    (inner ins (manual_grad f f' N y ins net x) direction).
Proof.
  intros ins x [| l after] [| d ds] same smooth; try discriminate.
  - simpl; apply (is_derive_const (V := R_NormedModule)).
  - apply loss_moves; [now injection same |].
    apply differentiable_chain_rule_after; now rewrite moved_layer_0.
Qed.

End Recursion.
