(** What else the code relies on: the stable softmax, class labels, padding, and that the order of
    hidden units does not matter. *)

From Coq Require Import Reals List Lia Lra Permutation FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
Require Import Sums Network Backward Activations.
Open Scope R_scope.

(** ** The stable form of softmax and of its logarithm *)

(** A shift m of all logits leaves p as it is. *)
Lemma eq_5_p k z m j : softmax k (fun i => z i - m) j = softmax k z j.
Proof.
  unfold softmax, Rminus; rewrite exp_plus.
  rewrite (sum_ext k _ (fun i => exp (z i) * exp (- m))) by (intros; apply exp_plus).
  rewrite sum_scal_r; destruct (Req_dec (Σ (i < k) exp (z i)) 0) as [-> | some].
  - unfold Rdiv; rewrite Rmult_0_l, Rinv_0; ring.
  - field; assert (positive := exp_pos (- m)); lra.
Qed.

(** And so log p = (z − m) − log Σ exp (z − m). *)
Lemma eq_5_log k z m j :
  (j < k)%nat -> ln (softmax k z j) = (z j - m) - ln (Σ (i < k) exp (z i - m)).
Proof. intros; rewrite <- (eq_5_p k z m), log_softmax; auto. Qed.

(** (5)  Both halves: p and log p from shifted logits. *)
Theorem eq_5 k z m j :
  (j < k)%nat ->
  softmax k z j = exp (z j - m) / Σ (i < k) exp (z i - m)
  /\ ln (softmax k z j) = (z j - m) - ln (Σ (i < k) exp (z i - m)).
Proof. intros; split; [symmetry; apply eq_5_p | now apply eq_5_log]. Qed.

(** The loss is that of the shifted logits. *)
Theorem loss_shifted k z m labels :
  cross_entropy k (fun i => z i - m) labels = cross_entropy k z labels.
Proof.
  unfold cross_entropy; f_equal; apply sum_ext; intros; now rewrite eq_5_p.
Qed.

(** (5.2)  With m the largest logit, log p is between z − m − log k and 0. *)
Theorem eq_5_2 k z m j :
  (j < k)%nat -> (forall i, (i < k)%nat -> z i <= m) -> (exists i, (i < k)%nat /\ z i = m) ->
  z j - m - ln (INR k) <= ln (softmax k z j) <= 0.
Proof.
  intros small largest [best [inside reached]].
  assert (low : 1 <= Σ (i < k) exp (z i - m)).
  { apply Rle_trans with (Σ (i < k) (if Nat.eqb i best then exp (z i - m) else 0)).
    - rewrite (sum_single k best); [| easy |].
      + rewrite Nat.eqb_refl, reached, Rminus_diag_eq, exp_0 by easy; lra.
      + intros i _ other; now rewrite (proj2 (Nat.eqb_neq i best)).
    - clear; induction k as [| k IH]; simpl; [lra |].
      assert (positive := exp_pos (z k - m)); destruct (Nat.eqb k best); lra. }
  assert (high : Σ (i < k) exp (z i - m) <= INR k).
  { clear - largest; induction k as [| k IH]; [simpl; lra |].
    rewrite S_INR; simpl; apply Rplus_le_compat; [apply IH; auto |].
    rewrite <- exp_0; destruct (Rle_lt_or_eq_dec (z k) m (largest k (Nat.lt_succ_diag_r k))).
    - left; apply exp_increasing; lra.
    - right; f_equal; lra. }
  rewrite (eq_5_log k z m j small).
  assert (0 <= ln (Σ (i < k) exp (z i - m))).
  { rewrite <- ln_1; destruct low as [low | <-]; [left; apply ln_increasing; lra | lra]. }
  assert (ln (Σ (i < k) exp (z i - m)) <= ln (INR k)).
  { destruct high as [high | ->]; [left; apply ln_increasing; lra | lra]. }
  specialize (largest j small); lra.
Qed.

(** ** Class labels *)

(** (8)  The label c is the row that is 1 at c and 0 elsewhere. *)
Definition class (c : nat) : nat -> R := fun j => if Nat.eqb j c then 1 else 0.

Theorem eq_8 k z c : (c < k)%nat -> cross_entropy k z (class c) = - ln (softmax k z c).
Proof.
  intros inside; unfold cross_entropy, class.
  rewrite (sum_single k c); [| easy |].
  - rewrite Nat.eqb_refl; ring.
  - intros i _ other; rewrite (proj2 (Nat.eqb_neq i c) other); ring.
Qed.

(** ** Nothing depends on what lies beyond the sizes *)

Section Padding.

Variables (f f' : R -> R) (N : nat) (y : array).

Lemma affine_ext ins l h h' n j :
  (forall i, (i < ins)%nat -> h n i = h' n i) -> affine ins l h n j = affine ins l h' n j.
Proof. intros same; unfold affine; f_equal; apply sum_ext; intros; now rewrite same. Qed.

Lemma mean_cost_ext k z z' :
  (forall n j, (j < k)%nat -> z n j = z' n j) -> mean_cost N y k z = mean_cost N y k z'.
Proof.
  intros same; unfold mean_cost; f_equal; apply sum_ext; intros n _.
  unfold cross_entropy, softmax; f_equal; apply sum_ext; intros j small.
  rewrite (sum_ext k _ (fun i => exp (z' n i))), same; auto; intros; now rewrite same.
Qed.

Lemma Λ_ext net : forall k z z',
  (forall n j, (j < k)%nat -> z n j = z' n j) -> Λ f N y k net z = Λ f N y k net z'.
Proof.
  induction net as [| l after IH]; simpl; intros k z z' same.
  - now apply mean_cost_ext.
  - apply IH; intros; apply affine_ext; intros; unfold activated; now rewrite same.
Qed.

Lemma J_ext net : forall k z z',
  (forall n j, (j < k)%nat -> z n j = z' n j) ->
  forall n j, (j < k)%nat -> J f f' N y k net z n j = J f f' N y k net z' n j.
Proof.
  induction net as [| l after IH]; simpl; intros k z z' same n j small.
  - unfold softmax; rewrite (sum_ext k (fun i => exp (z n i)) (fun i => exp (z' n i))), same; auto.
    intros; now rewrite same.
  - rewrite same by easy; f_equal; apply sum_ext; intros m below; f_equal.
    apply IH; auto; intros; apply affine_ext; intros; unfold activated; now rewrite same.
Qed.

(** ** Padding a hidden layer (31)

    [k] more units: zero columns into them, zero biases, and zero rows out of them. *)

Definition widened (l : layer) (k : nat) : layer :=
  Layer (outs l + k) (fun i j => if Nat.ltb j (outs l) then W l i j else 0)
    (fun j => if Nat.ltb j (outs l) then b l j else 0).

Definition lengthened (l : layer) (m : nat) : layer :=
  Layer (outs l) (fun i j => if Nat.ltb i m then W l i j else 0) (b l).

(** The network with its hidden layer after [before] padded. *)
Definition padded (before : network) (l next : layer) (after : network) (k : nat) : network :=
  before ++ widened l k :: lengthened next (outs l) :: after.

Lemma widened_z ins l k h n j :
  affine ins (widened l k) h n j = if Nat.ltb j (outs l) then affine ins l h n j else 0.
Proof.
  unfold affine, widened; simpl; destruct (Nat.ltb j (outs l)); [easy |].
  rewrite (sum_ext ins _ (fun _ => 0)), sum_zero; intros; ring.
Qed.

(** (25)  What the padded layer passes on is what it passed on before. *)
Lemma eq_25 ins l next k h n j :
  affine (outs l + k) (lengthened next (outs l)) (activated f (affine ins (widened l k) h)) n j
  = affine (outs l) next (activated f (affine ins l h)) n j.
Proof.
  unfold affine at 1; unfold lengthened; simpl; rewrite sum_padded.
  - unfold affine at 2; f_equal; apply sum_ext; intros i small; unfold activated.
    rewrite widened_z; now rewrite (proj2 (Nat.ltb_lt i (outs l)) small).
  - intros i beyond; rewrite (proj2 (Nat.ltb_ge i (outs l)) beyond); ring.
Qed.

(** What may be replaced at the end of a network may be replaced behind any layers. *)
Lemma loss_inside l after l' after' :
  (forall ins h, Λ f N y (outs l) after (affine ins l h)
                 = Λ f N y (outs l') after' (affine ins l' h)) ->
  forall before ins x, loss f N y ins (before ++ l :: after) x
                       = loss f N y ins (before ++ l' :: after') x.
Proof.
  intros here [| m before]; simpl; intros ins x; [apply here |].
  generalize (outs m) (affine ins m x); clear m.
  induction before as [| m before IH]; simpl; intros; [apply here | apply IH].
Qed.

(** (31)  The loss is as it was, for every activation and wherever the layer is. *)
Theorem padding_keeps_the_loss before l next after k ins x :
  loss f N y ins (padded before l next after k) x
  = loss f N y ins (before ++ l :: next :: after) x.
Proof. apply loss_inside; intros; simpl; apply Λ_ext; intros; apply eq_25. Qed.

(** (26)  J of the padded layer: as it was, and 0 in the new units. *)
Lemma eq_26 ins l next after k h n i :
  J f f' N y (outs l + k) (lengthened next (outs l) :: after) (affine ins (widened l k) h) n i
  = if Nat.ltb i (outs l)
    then J f f' N y (outs l) (next :: after) (affine ins l h) n i else 0.
Proof.
  simpl; rewrite widened_z; destruct (Nat.ltb i (outs l)).
  - f_equal; apply sum_ext; intros j small; f_equal.
    apply J_ext; auto; intros; apply eq_25.
  - rewrite (sum_ext _ _ (fun _ => 0)), sum_zero; intros; ring.
Qed.

(** And J of the layers before is as it was. *)
Lemma J_before before l next after k : forall ins z n i,
  J f f' N y ins (padded before l next after k) z n i
  = J f f' N y ins (before ++ l :: next :: after) z n i.
Proof.
  induction before as [| m before IH]; intros ins z n i.
  - change (Σ (j < outs l + k) (J f f' N y (outs l + k) (lengthened next (outs l) :: after)
                (affine ins (widened l k) (activated f z)) n j * W (widened l k) i j) * f' (z n i)
            = Σ (j < outs l) (J f f' N y (outs l) (next :: after)
                (affine ins l (activated f z)) n j * W l i j) * f' (z n i)).
    f_equal; rewrite sum_padded.
    + apply sum_ext; intros j small; rewrite eq_26; simpl.
      now rewrite (proj2 (Nat.ltb_lt j (outs l)) small).
    + intros j beyond; simpl; rewrite (proj2 (Nat.ltb_ge j (outs l)) beyond); ring.
  - simpl; f_equal; apply sum_ext; intros; f_equal; apply IH.
Qed.

(** (27)  The gradient of the padded network: everything that was there is as it was; the new
    columns and the new biases have 0; the new rows have f(0) times the gradient of the bias. *)
Theorem padding_keeps_the_gradient before l next after k : forall ins x,
  exists first into out last into' out',
    manual_grad f f' N y ins (before ++ l :: next :: after) x = first ++ into :: out :: last
    /\ manual_grad f f' N y ins (padded before l next after k) x
       = first ++ into' :: out' :: last
    /\ (forall i j, W into' i j = if Nat.ltb j (outs l) then W into i j else 0)
    /\ (forall j, b into' j = if Nat.ltb j (outs l) then b into j else 0)
    /\ (forall i j, W out' i j = if Nat.ltb i (outs l) then W out i j else f 0 * b out j)
    /\ b out' = b out.
Proof.
  induction before as [| m before IH]; intros ins x.
  - set (h := activated f (affine ins l x)).
    assert (z_same : affine (outs l + k) (lengthened next (outs l))
                       (activated f (affine ins (widened l k) x)) = affine (outs l) next h).
    { apply functional_extensionality; intros n; apply functional_extensionality; intros j.
      apply eq_25. }
    assert (J_same := fun n i => eq_26 ins l next after k x n i).
    cbn [padded app manual_grad]; change (outs (widened l k)) with (outs l + k)%nat.
    change (outs (lengthened next (outs l))) with (outs next); rewrite z_same; fold h.
    eexists nil, _, _, _, _, _; split; [reflexivity |]; split; [reflexivity |].
    repeat split; intros; cbn [W b].
    + destruct (Nat.ltb j (outs l)) eqn:new.
      * apply sum_ext; intros n _; now rewrite J_same, new.
      * apply sum_zeros; intros n _; rewrite J_same, new; ring.
    + destruct (Nat.ltb j (outs l)) eqn:new.
      * apply sum_ext; intros n _; now rewrite J_same, new.
      * apply sum_zeros; intros n _; now rewrite J_same, new.
    + destruct (Nat.ltb i (outs l)) eqn:new.
      * apply sum_ext; intros n _; unfold activated; now rewrite widened_z, new.
      * rewrite <- sum_scal; apply sum_ext; intros n _; unfold activated.
        now rewrite widened_z, new.
  - destruct (IH (outs m) (activated f (affine ins m x)))
      as (first & into & out & last & into' & out' & was & is_ & rest).
    change (padded (m :: before) l next after k) with (m :: padded before l next after k).
    cbn [manual_grad app]; rewrite was, is_.
    assert (J_same : J f f' N y (outs m) (padded before l next after k) (affine ins m x)
                     = J f f' N y (outs m) (before ++ l :: next :: after) (affine ins m x)).
    { apply functional_extensionality; intros n; apply functional_extensionality; intros i.
      apply J_before. }
    rewrite J_same.
    eexists (_ :: first), into, out, last, into', out'; repeat split; try apply rest; reflexivity.
Qed.

(** (31)  So where f(0) = 0, all of the padding has gradient 0, and no step changes it. *)
Corollary padding_learns_nothing before l next after k ins x :
  f 0 = 0 ->
  exists first into out last,
    manual_grad f f' N y ins (padded before l next after k) x = first ++ into :: out :: last
    /\ (forall i j, (outs l <= j)%nat -> W into i j = 0 /\ b into j = 0)
    /\ (forall i j, (outs l <= i)%nat -> W out i j = 0).
Proof.
  intros at_0; destruct (padding_keeps_the_gradient before l next after k ins x)
    as (first & into & out & last & into' & out' & _ & is_ & columns & biases & rows & _).
  exists first, into', out', last; split; [exact is_ | split].
  - intros i j new; now rewrite columns, biases, (proj2 (Nat.ltb_ge j (outs l)) new).
  - intros i j new; rewrite rows, (proj2 (Nat.ltb_ge i (outs l)) new), at_0; ring.
Qed.

(** ** The order of hidden units

    Columns, biases and rows in another order, and the loss is the same. *)

Definition reordered (l : layer) (s : nat -> nat) : layer :=
  Layer (outs l) (fun i j => W l i (s j)) (fun j => b l (s j)).
Definition following (next : layer) (s : nat -> nat) : layer :=
  Layer (outs next) (fun i j => W next (s i) j) (b next).

Theorem hidden_units_in_any_order before l next after s ins x :
  Permutation (map s (seq 0 (outs l))) (seq 0 (outs l)) ->
  loss f N y ins (before ++ reordered l s :: following next s :: after) x
  = loss f N y ins (before ++ l :: next :: after) x.
Proof.
  intros permutes; apply loss_inside; intros j h; simpl; apply Λ_ext; intros n i _.
  unfold affine at 1 3; simpl; f_equal.
  exact (sum_permuted (outs l) s (fun u => activated f (affine j l h) n u * W next u i) permutes).
Qed.

End Padding.
