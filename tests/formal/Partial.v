(** Every partial derivative is an entry of the gradient. *)

From Coq Require Import Reals List Lia Lra.
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
