(** The network, its loss and its gradient, as [derivation.md] writes them.

    Numbers in brackets are equation numbers of [derivation.md]. An array is a function of its
    indices; which of them count is said by the sizes next to it. Rows are examples: [z n i] is
    unit [i] of example [n]. *)

From Coq Require Import Reals List.
From Coquelicot Require Import Coquelicot.
Require Import Sums.
Open Scope R_scope.

Definition array := nat -> nat -> R.

(** A layer: how many outputs it has, its weight W and its bias b. A layer without bias has b = 0,
    and nobody asks for the derivative by it. *)
Record layer := Layer { outs : nat; W : array; b : nat -> R }.

(** The layers from the first to the last one; any number of them, of any widths. *)
Definition network := list layer.

Section Derivation.

(** [f] is the activation of the hidden layers, [f'] what is taken for its derivative.
    There are [N] examples, whose labels are the rows of [y]: any numbers with any sum. *)
Variables (f f' : R -> R) (N : nat) (y : array).

(** ** Forward *)

(** (2)  z = h W + b. *)
Definition affine (ins : nat) (l : layer) (h : array) : array :=
  fun n j => Σ (i < ins) (h n i * W l i j) + b l j.

(** (3)  h = f(z), entry by entry. *)
Definition activated (z : array) : array := fun n i => f (z n i).

(** (4)  pⱼ = exp zⱼ / Σₖ exp zₖ. *)
Definition softmax (k : nat) (z : nat -> R) (j : nat) : R :=
  exp (z j) / Σ (i < k) exp (z i).

(** (6)  C = −Σⱼ yⱼ log pⱼ. *)
Definition cross_entropy (k : nat) (z labels : nat -> R) : R :=
  - Σ (j < k) (labels j * ln (softmax k z j)).

(** (7)  The mean over the examples. *)
Definition mean_cost (k : nat) (z : array) : R :=
  / INR N * Σ (n < N) cross_entropy k (z n) (y n).

(** (0.1)  Λ: the loss as a function of z, of which there are [k] columns; [net] is what comes
    after. *)
Fixpoint Λ (k : nat) (net : network) (z : array) : R :=
  match net with
  | nil => mean_cost k z
  | l :: after => Λ (outs l) after (affine k l (activated z))
  end.

(** The loss of a network on inputs h₀ = x (1), of which there are [ins] columns. *)
Definition loss (ins : nat) (net : network) (x : array) : R :=
  match net with
  | nil => mean_cost ins x
  | l :: after => Λ (outs l) after (affine ins l x)
  end.

(** ** Backward *)

(** J = ∂L/∂z. (12) at the end: (p Σ y − y) / N. Before it, (15) and (16): J Wᵀ ⊙ f'(z). *)
Fixpoint J (k : nat) (net : network) (z : array) : array :=
  match net with
  | nil => fun n j => / INR N * (softmax k (z n) j * Σ (i < k) y n i - y n j)
  | l :: after =>
      let J' := J (outs l) after (affine k l (activated z)) in
      fun n i => Σ (j < outs l) (J' n j * W l i j) * f' (z n i)
  end.

(** ∂L/∂W = hᵀ J (13) and ∂L/∂b = Σₙ J (14), for every layer. *)
Fixpoint manual_grad (ins : nat) (net : network) (h : array) : network :=
  match net with
  | nil => nil
  | l :: after =>
      let z := affine ins l h in
      let J' := J (outs l) after z in
      Layer (outs l) (fun i j => Σ (n < N) (h n i * J' n j)) (fun j => Σ (n < N) J' n j)
        :: manual_grad (outs l) after (activated z)
  end.

(** ** What the theorem speaks of *)

(** [P] holds of every entry of z in every hidden layer. *)
Fixpoint hidden_after (P : R -> Prop) (k : nat) (net : network) (z : array) : Prop :=
  match net with
  | nil => True
  | l :: after =>
      (forall n i, (n < N)%nat -> (i < k)%nat -> P (z n i))
      /\ hidden_after P (outs l) after (affine k l (activated z))
  end.

Definition every_hidden_z (P : R -> Prop) (ins : nat) (net : network) (x : array) : Prop :=
  match net with
  | nil => True
  | l :: after => hidden_after P (outs l) after (affine ins l x)
  end.

End Derivation.

(** The parameters moved by [t] in a direction. *)
Definition moved_layer (l d : layer) (t : R) : layer :=
  Layer (outs l) (fun i j => W l i j + t * W d i j) (fun j => b l j + t * b d j).

Fixpoint moved (net direction : network) (t : R) : network :=
  match net, direction with
  | l :: after, d :: directions => moved_layer l d t :: moved after directions t
  | _, _ => net
  end.

(** The inner product of two networks' parameters: the sum over all weights and biases. *)
Fixpoint inner (ins : nat) (g d : network) : R :=
  match g, d with
  | l :: ls, m :: ms =>
      Σ (i < ins) Σ (j < outs l) (W l i j * W m i j) + Σ (j < outs l) (b l j * b m j)
      + inner (outs l) ls ms
  | _, _ => 0
  end.
