(** (28)  What rounding does to a sum of products, in whatever order it is added up. *)

From Coq Require Import Reals Lia Lra.
Require Import Sums.
Open Scope R_scope.

(** Products to be added, in some order. *)
Inductive products : Set :=
| product (a b : R)
| add (one other : products).

Fixpoint count (t : products) : nat :=
  match t with product _ _ => 1 | add s t => count s + count t end.

Fixpoint exact (t : products) : R :=
  match t with product a b => a * b | add s t => exact s + exact t end.

Fixpoint absolute (t : products) : R :=
  match t with product a b => Rabs a * Rabs b | add s t => absolute s + absolute t end.

Section Rounding.

(** The unit roundoff: every operation has a relative error of at most [u]. *)
Variable u : R.
Hypothesis positive : 0 <= u.

Inductive computed : products -> R -> Prop :=
| computed_product a b δ : Rabs δ <= u -> computed (product a b) (a * b * (1 + δ))
| computed_sum s t v w δ :
    computed s v -> computed t w -> Rabs δ <= u -> computed (add s t) ((v + w) * (1 + δ)).

Lemma count_positive t : (1 <= count t)%nat.
Proof. induction t; simpl; lia. Qed.

Lemma absolute_positive t : 0 <= absolute t.
Proof.
  induction t as [a b | s S t T]; simpl; [| lra].
  apply Rmult_le_pos; apply Rabs_pos.
Qed.

Lemma exact_absolute t : Rabs (exact t) <= absolute t.
Proof.
  induction t as [a b | s S t T]; simpl; [rewrite Rabs_mult; lra |].
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

Lemma powers_grow m n : (m <= n)%nat -> (1 + u) ^ m <= (1 + u) ^ n.
Proof. intros; apply Rle_pow; [lra | easy]. Qed.

(** Each product is rounded once, and once in every sum that it goes into. *)
Lemma error_of_products t v :
  computed t v -> Rabs (v - exact t) <= ((1 + u) ^ count t - 1) * absolute t.
Proof.
  induction 1 as [a b δ small | s t v w δ left IHs right IHt small]; simpl.
  - replace (a * b * (1 + δ) - a * b) with (a * b * δ) by ring.
    rewrite !Rabs_mult; assert (0 <= Rabs a * Rabs b) by (apply Rmult_le_pos; apply Rabs_pos).
    rewrite Rmult_1_r; replace (1 + u - 1) with u by ring; rewrite (Rmult_comm u).
    now apply Rmult_le_compat_l.
  - replace ((v + w) * (1 + δ) - (exact s + exact t))
      with ((1 + δ) * ((v - exact s) + (w - exact t)) + δ * (exact s + exact t)) by ring.
    set (m := Nat.max (count s) (count t)).
    assert (within : forall r e a k, (k <= m)%nat -> 0 <= a -> Rabs (r - e) <= ((1 + u) ^ k - 1) * a ->
              Rabs (r - e) <= ((1 + u) ^ m - 1) * a).
    { intros r e a k below some bound; eapply Rle_trans; [exact bound |].
      apply Rmult_le_compat_r; [easy |]; assert (h := powers_grow k m below); lra. }
    assert (as_ := absolute_positive s); assert (at_ := absolute_positive t).
    assert (bs := within _ _ _ _ (Nat.le_max_l _ _) as_ IHs).
    assert (bt := within _ _ _ _ (Nat.le_max_r _ _) at_ IHt).
    assert (es := exact_absolute s); assert (et := exact_absolute t).
    assert (one : Rabs (1 + δ) <= 1 + u).
    { eapply Rle_trans; [apply Rabs_triang | rewrite Rabs_R1; lra]. }
    eapply Rle_trans; [apply Rabs_triang |]; rewrite !Rabs_mult.
    apply Rle_trans with ((1 + u) * (((1 + u) ^ m - 1) * (absolute s + absolute t))
                          + u * (absolute s + absolute t)).
    + apply Rplus_le_compat; apply Rmult_le_compat; auto using Rabs_pos;
        (eapply Rle_trans; [apply Rabs_triang | lra]).
    + replace ((1 + u) * (((1 + u) ^ m - 1) * (absolute s + absolute t))
               + u * (absolute s + absolute t))
        with (((1 + u) ^ S m - 1) * (absolute s + absolute t)) by (simpl; ring).
      apply Rmult_le_compat_r; [lra |].
      assert (S m <= count s + count t)%nat.
      { assert (a := count_positive s); assert (b := count_positive t); unfold m; lia. }
      assert (h := powers_grow (S m) (count s + count t) H); lra.
Qed.

(** (1 + u)ᵏ − 1 ≤ k u / (1 − k u). *)
Lemma powers_bound k : INR k * u < 1 -> (1 + u) ^ k - 1 <= INR k * u / (1 - INR k * u).
Proof.
  intros small.
  assert ((1 + u) ^ k * (1 - INR k * u) <= 1).
  { clear small; induction k as [| k IH]; [simpl; lra |].
    rewrite S_INR; simpl.
    assert (powers := pow_le (1 + u) k ltac:(lra)); assert (k_positive := pos_INR k).
    assert (0 <= (1 + u) ^ k * (u * (u * (INR k + 1)))).
    { repeat apply Rmult_le_pos; lra. }
    nra. }
  apply Rmult_le_reg_r with (1 - INR k * u); [lra |].
  unfold Rdiv; rewrite Rmult_assoc, Rinv_l by lra; lra.
Qed.

Theorem eq_28 t v :
  computed t v -> INR (count t) * u < 1 ->
  Rabs (v - exact t) <= INR (count t) * u / (1 - INR (count t) * u) * absolute t.
Proof.
  intros result small; eapply Rle_trans; [now apply error_of_products |].
  apply Rmult_le_compat_r; [apply absolute_positive | now apply powers_bound].
Qed.

End Rounding.
