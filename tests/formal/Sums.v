(** Finite sums, and their derivatives.

    [Σ (i < n) e] is the sum of e for i = 0, ..., n - 1. *)

From Coq Require Import Reals Lia Lra Permutation List.
From Coquelicot Require Import Coquelicot.
Open Scope R_scope.

Fixpoint sum (n : nat) (f : nat -> R) : R :=
  match n with
  | O => 0
  | S m => sum m f + f m
  end.

Notation "'Σ' ( i < n ) e" := (sum n (fun i => e)) (at level 35, i name, n at level 69, e at level 35, right associativity).

Lemma sum_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> sum n f = sum n g.
Proof.
  induction n as [| n IH]; intros same; simpl; [reflexivity |].
  rewrite IH, same; auto; intros; apply same; lia.
Qed.

Lemma sum_plus n f g : sum n (fun i => f i + g i) = sum n f + sum n g.
Proof. induction n as [| n IH]; simpl; [| rewrite IH]; lra. Qed.

Lemma sum_minus n f g : sum n (fun i => f i - g i) = sum n f - sum n g.
Proof. induction n as [| n IH]; simpl; [| rewrite IH]; lra. Qed.

Lemma sum_scal n c f : sum n (fun i => c * f i) = c * sum n f.
Proof. induction n as [| n IH]; simpl; [| rewrite IH]; lra. Qed.

Lemma sum_scal_r n c f : sum n (fun i => f i * c) = sum n f * c.
Proof. induction n as [| n IH]; simpl; [| rewrite IH]; lra. Qed.

Lemma sum_zero n : sum n (fun _ => 0) = 0.
Proof. induction n as [| n IH]; simpl; [| rewrite IH]; lra. Qed.

Lemma sum_zeros n f : (forall i, (i < n)%nat -> f i = 0) -> sum n f = 0.
Proof. intros zero; rewrite (sum_ext n f (fun _ => 0)); auto using sum_zero. Qed.

(** Sums over two indices may be taken in either order. *)
Lemma sum_swap n m (f : nat -> nat -> R) :
  Σ (i < n) Σ (j < m) f i j = Σ (j < m) Σ (i < n) f i j.
Proof.
  induction n as [| n IH]; simpl.
  - symmetry; apply sum_zero.
  - rewrite IH, <- sum_plus; reflexivity.
Qed.

(** What is 0 from m on adds nothing to a sum. *)
Lemma sum_padded m k f : (forall i, (m <= i)%nat -> f i = 0) -> sum (m + k) f = sum m f.
Proof.
  intros beyond; induction k as [| k IH].
  - now rewrite Nat.add_0_r.
  - replace (m + S k)%nat with (S (m + k)) by lia.
    simpl; rewrite IH, beyond by lia; lra.
Qed.

(** Of a sum in which all terms but one are 0, that one is left: the Kronecker delta. *)
Lemma sum_single n k f :
  (k < n)%nat -> (forall i, (i < n)%nat -> i <> k -> f i = 0) -> sum n f = f k.
Proof.
  induction n as [| n IH]; intros below others; [lia |]; simpl.
  destruct (Nat.eq_dec k n) as [-> | apart].
  - rewrite (sum_ext n f (fun _ => 0)).
    + rewrite sum_zero; lra.
    + intros i small; apply others; lia.
  - rewrite IH, (others n); try lia; try lra.
    intros i small; apply others; lia.
Qed.

Lemma sum_positive n f : (0 < n)%nat -> (forall i, 0 < f i) -> 0 < sum n f.
Proof.
  intros some positive; destruct n as [| n]; [lia | clear some].
  induction n as [| n IH]; simpl in *.
  - specialize (positive O); lra.
  - specialize (positive (S n)); lra.
Qed.

(** A sum is the same in every order of its terms. *)
Definition total (l : list R) : R := fold_right Rplus 0 l.

Lemma total_app l l' : total (l ++ l') = total l + total l'.
Proof. induction l as [| a l IH]; unfold total in *; simpl in *; [| rewrite IH]; lra. Qed.

Lemma sum_total n f : sum n f = total (map f (seq 0 n)).
Proof.
  induction n as [| n IH]; [reflexivity |].
  rewrite seq_S, map_app, total_app, <- IH; unfold total; simpl; lra.
Qed.

Lemma sum_permuted n (s : nat -> nat) f :
  Permutation (map s (seq 0 n)) (seq 0 n) -> Σ (i < n) f (s i) = sum n f.
Proof.
  intros same; rewrite !sum_total, <- (map_map s f).
  apply (Permutation_map f) in same; revert same.
  generalize (map f (map s (seq 0 n))) (map f (seq 0 n)).
  induction 1; unfold total in *; simpl in *; lra.
Qed.

(** The derivative of a sum is the sum of the derivatives. *)
Lemma is_derive_sum n (f : nat -> R -> R) (d : nat -> R) (t : R) :
  (forall i, (i < n)%nat -> is_derive (f i) t (d i)) ->
  is_derive (fun s => Σ (i < n) f i s) t (Σ (i < n) d i).
Proof.
  induction n as [| n IH]; intros each; simpl.
  - apply (is_derive_const (V := R_NormedModule) 0 t).
  - apply (is_derive_plus (V := R_NormedModule) (fun s => sum n (fun i => f i s)) (f n)).
    + apply IH; intros; apply each; lia.
    + apply each; lia.
Qed.

Lemma is_derive_value (f : R -> R) (t d d' : R) : is_derive f t d -> d = d' -> is_derive f t d'.
Proof. intros derivative <-; exact derivative. Qed.
