(** The handwritten note: one example, two layers, ReLU, no bias, widths 3, 4 and 3. *)

From Coq Require Import Reals List Lia Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
Require Import Sums Network Backward Activations.
Open Scope R_scope.

Section Note.

Variables (x : nat -> R) (W0 W1 : array) (y : nat -> R).

(** (29)  h = ReLU(x W⁰), z₂ = h W¹, p = softmax(z₂), C = −Σ y log p. *)
Definition z1 j := Σ (i < 3) (x i * W0 i j).
Definition h j := relu (z1 j).
Definition z2 k := Σ (j < 4) (h j * W1 j k).
Definition p k := softmax 3 z2 k.
Definition C := - Σ (k < 3) (y k * ln (p k)).

(** (30)  Its four lines. *)
Definition J2 k := p k * Σ (i < 3) y i - y k.
Definition dW1 j k := h j * J2 k.
Definition J1 j := Σ (k < 3) (J2 k * W1 j k) * relu' (z1 j).
Definition dW0 i j := x i * J1 j.

Definition network_of_note : network :=
  Layer 4 W0 (fun _ => 0) :: Layer 3 W1 (fun _ => 0) :: nil.

Lemma z1_of_network n : affine 3 (Layer 4 W0 (fun _ => 0)) (fun _ => x) n = z1.
Proof. apply functional_extensionality; intros; unfold affine, z1; cbn [W b]; ring. Qed.

Lemma z2_of_network n :
  affine 4 (Layer 3 W1 (fun _ => 0))
    (activated relu (affine 3 (Layer 4 W0 (fun _ => 0)) (fun _ => x))) n = z2.
Proof.
  apply functional_extensionality; intros; unfold affine at 1, activated, z2, h; cbn [W b].
  now rewrite z1_of_network, Rplus_0_r.
Qed.

Theorem eq_29 : loss relu 1 (fun _ => y) 3 network_of_note (fun _ => x) = C.
Proof.
  unfold loss, network_of_note; cbn [outs Λ]; unfold mean_cost; cbn [sum INR].
  rewrite z2_of_network, Rinv_1, Rplus_0_l, Rmult_1_l; reflexivity.
Qed.

(** The gradient of the network is what the note's lines say. *)
Theorem eq_30 :
  exists first second,
    manual_grad relu relu' 1 (fun _ => y) 3 network_of_note (fun _ => x)
    = first :: second :: nil
    /\ (forall i j, W first i j = dW0 i j) /\ (forall j k, W second j k = dW1 j k).
Proof.
  unfold network_of_note; cbn [manual_grad J outs].
  eexists _, _; split; [reflexivity |]; split; intros; cbn [W sum INR];
    rewrite ?z2_of_network, ?z1_of_network, ?Rinv_1, ?Rplus_0_l, ?Rmult_1_l.
  - unfold dW0, J1, J2, p; cbn [sum]; rewrite ?Rplus_0_l; reflexivity.
  - unfold activated; rewrite z1_of_network; unfold dW1, J2, p, h; cbn [sum].
    now rewrite ?Rplus_0_l.
Qed.

End Note.
