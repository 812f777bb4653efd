(** The two other losses: half the squared error, and a sigmoid for each output. *)

From Coq Require Import Reals List Arith Lia Lra.
From Coquelicot Require Import Coquelicot.
Require Import Sums Network Backward Activations.
Open Scope R_scope.

(** ** Squared error

    (33)  C = Σ (z_j − y_j)² / 2. *)
Definition squared k (z labels : nat -> R) : R := Σ (j < k) ((z j - labels j) ^ 2 / 2).

(** ** A sigmoid for each output

    (35)  C = −Σ y_j log σ(z_j) + (1 − y_j) log (1 − σ(z_j)). *)
Definition separate k (z labels : nat -> R) : R :=
  - Σ (j < k) (labels j * ln (sigmoid (z j)) + (1 - labels j) * ln (1 - sigmoid (z j))).

(** So it is the cross-entropy of two classes, of which the first has the logit 0. *)
Lemma sigmoid_is_a_softmax v : sigmoid v = exp v / (exp 0 + exp v).
Proof.
  assert (positive := exp_pos v).
  unfold sigmoid; rewrite exp_0, exp_Ropp; field; lra.
Qed.

Section Losses.

Variables (k : nat) (z : R -> nat -> R) (dz : nat -> R).
Hypothesis moving : forall i, (i < k)%nat -> is_derive (fun t => z t i) 0 (dz i).

(** (34)  ∂C / ∂z_j = z_j − y_j. *)
Lemma eq_34 labels :
  is_derive (fun t => squared k (z t) labels) 0 (Σ (j < k) ((z 0 j - labels j) * dz j)).
Proof.
  unfold squared.
  apply (is_derive_sum k (fun j t => (z t j - labels j) ^ 2 / 2)); intros j small.
  replace ((z 0 j - labels j) * dz j) with (scal (dz j) (z 0 j - labels j))
    by (unfold scal; simpl; unfold mult; simpl; ring).
  apply (is_derive_comp (fun v => (v - labels j) ^ 2 / 2) (fun t => z t j)).
  - auto_derive; [easy | field].
  - now apply moving.
Qed.

Lemma sigmoid_between v : 0 < sigmoid v < 1.
Proof.
  assert (positive := exp_pos (- v)); unfold sigmoid; split.
  - apply Rinv_0_lt_compat; lra.
  - rewrite <- Rinv_1; apply Rinv_lt_contravar; lra.
Qed.

(** (36)  ∂C / ∂z_j = σ(z_j) − y_j. *)
Lemma eq_36 labels :
  is_derive (fun t => separate k (z t) labels) 0 (Σ (j < k) ((sigmoid (z 0 j) - labels j) * dz j)).
Proof.
  unfold separate.
  replace (Σ (j < k) ((sigmoid (z 0 j) - labels j) * dz j))
    with (opp (Σ (j < k) ((labels j - sigmoid (z 0 j)) * dz j))).
  2: { rewrite (sum_ext k (fun j => (sigmoid (z 0 j) - labels j) * dz j)
         (fun j => -1 * ((labels j - sigmoid (z 0 j)) * dz j))) by (intros; ring).
       rewrite sum_scal; unfold opp; simpl; ring. }
  apply (is_derive_opp (fun t => Σ (j < k) (labels j * ln (sigmoid (z t j))
    + (1 - labels j) * ln (1 - sigmoid (z t j))))).
  apply (is_derive_sum k (fun j t => labels j * ln (sigmoid (z t j))
    + (1 - labels j) * ln (1 - sigmoid (z t j)))); intros j small.
  replace ((labels j - sigmoid (z 0 j)) * dz j) with (scal (dz j) (labels j - sigmoid (z 0 j)))
    by (unfold scal; simpl; unfold mult; simpl; ring).
  apply (is_derive_comp (fun v => labels j * ln (sigmoid v) + (1 - labels j) * ln (1 - sigmoid v))
           (fun t => z t j)).
  - assert (between := sigmoid_between (z 0 j)).
    replace (labels j - sigmoid (z 0 j))
      with (labels j * (scal (sigmoid' (z 0 j)) (/ sigmoid (z 0 j)))
            + (1 - labels j) * (scal (- sigmoid' (z 0 j)) (/ (1 - sigmoid (z 0 j))))).
    2: { unfold sigmoid', scal; simpl; unfold mult; simpl; field; lra. }
    apply (is_derive_plus (fun v => labels j * ln (sigmoid v))
             (fun v => (1 - labels j) * ln (1 - sigmoid v))).
    + apply (is_derive_scal (fun v => ln (sigmoid v))).
      apply (is_derive_comp ln sigmoid); [now apply is_derive_ln | apply eq_19].
    + apply (is_derive_scal (fun v => ln (1 - sigmoid v))).
      apply (is_derive_comp ln (fun v => 1 - sigmoid v)); [apply is_derive_ln; lra |].
      replace (- sigmoid' (z 0 j)) with (0 - sigmoid' (z 0 j)) by ring.
      apply (is_derive_minus (fun _ => 1) sigmoid); [| apply eq_19].
      apply (is_derive_const (V := R_NormedModule)).
  - now apply moving.
Qed.

End Losses.

(** ** The mean over the batch

    (37)  ∂L / ∂z = (p − y) / N, where p is z itself, or σ(z). *)
Section Mean.

Variables (N k : nat) (y : array) (z : R -> array) (dz : array).
Hypothesis moving :
  forall n i, (n < N)%nat -> (i < k)%nat -> is_derive (fun t => z t n i) 0 (dz n i).

Lemma eq_37 (cost : (nat -> R) -> (nat -> R) -> R) (p : R -> R) :
  (forall n, (n < N)%nat ->
     is_derive (fun t => cost (z t n) (y n)) 0 (Σ (j < k) ((p (z 0 n j) - y n j) * dz n j))) ->
  is_derive (fun t => / INR N * Σ (n < N) cost (z t n) (y n)) 0
    (Σ (n < N) Σ (j < k) (/ INR N * (p (z 0 n j) - y n j) * dz n j)).
Proof.
  intros each.
  rewrite (sum_ext N (fun n => Σ (j < k) (/ INR N * (p (z 0 n j) - y n j) * dz n j))
             (fun n => / INR N * Σ (j < k) ((p (z 0 n j) - y n j) * dz n j))).
  2: { intros n _; rewrite <- sum_scal; apply sum_ext; intros; ring. }
  rewrite sum_scal.
  apply (is_derive_scal (fun t => Σ (n < N) cost (z t n) (y n))).
  now apply (is_derive_sum N (fun n t => cost (z t n) (y n))).
Qed.

Corollary eq_37_squared :
  is_derive (fun t => / INR N * Σ (n < N) squared k (z t n) (y n)) 0
    (Σ (n < N) Σ (j < k) (/ INR N * (z 0 n j - y n j) * dz n j)).
Proof.
  apply (eq_37 (squared k) (fun v => v)); intros n small.
  apply (eq_34 k (fun t => z t n)); auto.
Qed.

Corollary eq_37_separate :
  is_derive (fun t => / INR N * Σ (n < N) separate k (z t n) (y n)) 0
    (Σ (n < N) Σ (j < k) (/ INR N * (sigmoid (z 0 n j) - y n j) * dz n j)).
Proof.
  apply (eq_37 (separate k) sigmoid); intros n small.
  apply (eq_36 k (fun t => z t n)); auto.
Qed.

(** ** Weights of the examples

    (38)  L = Σ w_n C_n / N, and the row n of ∂L / ∂z is w_n / N times that of ∂C_n / ∂z. *)
Lemma eq_38 (cost : (nat -> R) -> (nat -> R) -> R) (w : nat -> R) (slope : array) :
  (forall n, (n < N)%nat ->
     is_derive (fun t => cost (z t n) (y n)) 0 (Σ (j < k) (slope n j * dz n j))) ->
  is_derive (fun t => / INR N * Σ (n < N) (w n * cost (z t n) (y n))) 0
    (Σ (n < N) Σ (j < k) (w n * / INR N * slope n j * dz n j)).
Proof.
  intros each.
  rewrite (sum_ext N (fun n => Σ (j < k) (w n * / INR N * slope n j * dz n j))
             (fun n => / INR N * (w n * Σ (j < k) (slope n j * dz n j)))).
  2: { intros n _; rewrite <- !sum_scal; apply sum_ext; intros; ring. }
  rewrite sum_scal.
  apply (is_derive_scal (fun t => Σ (n < N) (w n * cost (z t n) (y n)))).
  apply (is_derive_sum N (fun n t => w n * cost (z t n) (y n))); intros n small.
  apply (is_derive_scal (fun t => cost (z t n) (y n))); auto.
Qed.

End Mean.

(** For the cross-entropy, a weight is another sum of the labels: (12) has w y in the place of y. *)
Lemma weights_are_label_sums k (z y : nat -> R) w j :
  w * (softmax k z j * Σ (i < k) y i - y j)
  = softmax k z j * Σ (i < k) (w * y i) - w * y j.
Proof. rewrite (sum_scal k w (fun i => y i)); ring. Qed.

(** The first M of N examples have the weight N / M, and the others 0: the mean is that of the M. *)
Lemma left_out N M (costs : nat -> R) :
  (0 < M <= N)%nat ->
  / INR N * Σ (n < N) ((if n <? M then INR N / INR M else 0) * costs n)
  = / INR M * Σ (n < M) costs n.
Proof.
  intros sizes.
  assert (some : INR M <> 0) by (apply not_0_INR; lia).
  assert (all : INR N <> 0) by (apply not_0_INR; lia).
  replace N with (M + (N - M))%nat at 2 by lia.
  rewrite sum_padded.
  - rewrite (sum_ext M _ (fun n => INR N / INR M * costs n)).
    + rewrite (sum_scal M _ (fun n => costs n)); field; auto.
    + intros n small; apply Nat.ltb_lt in small; now rewrite small.
  - intros n beyond; apply Nat.ltb_ge in beyond; rewrite beyond; ring.
Qed.
