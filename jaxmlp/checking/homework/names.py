"""What the names in homework usually mean: arguments, sizes, functions, weights and gradients."""

import re
from contextvars import ContextVar
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What an argument is for."""

    INPUTS = "inputs"
    LABELS = "labels"
    WEIGHTS = "weights"
    OUTPUT = "output"
    CACHE = "cache"
    GRADS = "grads"
    RATE = "rate"
    PENALTY = "penalty"
    COUNT = "count"
    ONCE = "once"
    QUIET = "quiet"
    SEED = "seed"
    N_IN = "n_in"
    N_HIDDEN = "n_hidden"
    N_OUT = "n_out"
    SIZES = "sizes"


# names in lower case without underscores, in English, Spanish, German or French; of two roles that
# fit, the first one counts
ROLES = {
    Role.SIZES: r"""
        sizes | layers? | layersizes | layerdims? | layersdims? | dims | architecture |
        nn(architecture|structure) | structure | topology | units
    """,
    Role.N_IN: r"""
        (n|num|no|number|dim)?(of)?(inputs?|in|x|features?)(size|dims?|nodes?|units?|neurons?|
        layer|layersize|n|features?|num|count) | (n|num|anzahl|nb)?(entradas?|eingaben?|entrees?)
        | (n|num|no|number|dim)(of)?(inputs?|in|x|features?|feats?) | d | din | ni | i
    """,
    Role.N_HIDDEN: r"""
        (n|num|no|number|dim)?(of)?(hidden|hid)(size|dims?|nodes?|units?|neurons?|layers?|features?|
        layersize|n|num|count|\d)?
        | (n|num|anzahl|nb)?(ocultas?|verdeckte?|cachees?) | ncaches? | nh\d | width
        | (n|num|no|number|dim)(of)?(hiddens?|hid|h|units) | hdim | nnhdim | h | dh | hiddens?
    """,
    Role.N_OUT: r"""
        (n|num|no|number|dim)?(of)?(outputs?|out|classes|y|labels?)(size|dims?|nodes?|units?|
        neurons?|layer|layersize|n|num|count|features?)
        | (n|num|anzahl|nb)?(salidas?|ausgaben?|sorties?)
        | (n|num|no|number|dim)(of)?(outputs?|out|classes|class|y|c|labels) | c | k | dout |
        no
    """,
    Role.INPUTS: r"""
        x | xs | inputs? | inputdata | inputslist | inputlist | features? | data | xtrain |
        xbatch | xdata | trainx | batchx | trainingx | a0 | h0 | l0 | images? | xb |
        trainingdata | traininginputs | inputvector | sample | example | x0 | xi |
        eingaben? | entradas? | entrees?
    """,
    Role.LABELS: r"""
        y | ys | ts? | targets? | targetdata | targetslist | targetlist | labels? | ytrue |
        ytrain | ybatch | ydata | trainy | batchy | trainingy | yonehot | onehoty? | truth |
        groundtruth | expected | answers? | d | yb | desired | trainingoutputs |
        trainingtargets | targetvector | ti | yi | classes | ziele? | zielwerte | salidas? |
        objetivos? | cibles?
    """,
    Role.WEIGHTS: r"""
        params? | parameters? | weights? | ws | theta | model | net | network | wts | p | w |
        coefs? | pesos | red | gewichte | netz | poids | reseau
    """,
    Role.OUTPUT: r"""
        outputs? | out | o | ol | yhat | ypred | yp | pred | preds | predictions? | probs? |
        probabilities | scores | a2 | a3 | al | logits | softmaxout | finaloutputs? | p
    """,
    Role.CACHE: r"""
        caches? | memory | memo | saved | intermediates? | ctx | context | states? |
        activations | forwardcache | values | store
    """,
    Role.GRADS: r"""
        grads? | gradients? | dparams | derivatives
    """,
    Role.RATE: r"""
        lr | learningrate | learnrate | learningratio | alpha | eta | stepsize | rate |
        epsilon | lrate | l | tasa | lernrate | pas | taux
    """,
    Role.PENALTY: r"""
        reg | lambda | lambd | lam | l2 | weightdecay | reglambda | regularization |
        regularisation | regstrength | decay | l2reg | alphareg
    """,
    Role.COUNT: r"""
        m | n | batchsize | nsamples | numexamples | nexamples | numsamples | samples | batch
        | minibatchsize | bs
    """,
    Role.ONCE: r"""
        epochs? | iterations? | iters? | numiterations | niter | niters | numiters | numpasses
        | steps | nepochs | numepochs | maxiter | maxiters | passes | times | rounds
        | epocas | epochen | epoques | iteraciones
    """,
    Role.QUIET: r"""
        verbose | printloss | printcost | print | debug | plot | show | log | display | info
    """,
    Role.SEED: r"""
        seed | randomstate | randomseed | rng
    """,
}  # fmt: skip
LITERAL = (Role.RATE, Role.PENALTY, Role.ONCE, Role.QUIET, Role.SEED)  # have one value each
STRENGTH: ContextVar[float] = ContextVar("STRENGTH", default=0.0)  # of a penalty on the weights
_PATTERNS = {role: re.compile(pattern, re.VERBOSE) for role, pattern in ROLES.items()}

# functions that give gradients, the likeliest first
GOALS = (
    r"(loss|cost|value|objective).*grad|grad.*(loss|cost|value|objective)",
    r"back|bprop|grad|^(gr|bw|bp)$|nabla|compute_d|^propagate$|derivatives|retropropag|rueckwaerts|rétropropag",
    r"train_?(step|batch|on_batch|one)|^step$|one_?step|gradient_?descent|sgd|lernschritt|learn_one",
    r"update|^fit$|^train$|^learn|train_|optimi[sz]e|^loss$|cost$|cost_?func|loss_?func|entren|lernen|trainier|mise_?a_?jour|entrain",
)
UPDATE = r"step|updat|train|fit|learn|descent|sgd|optimi[sz]|lern|entren|entrain|mise_?a_?jour"
# what has such a name, but gives no gradient of a network
NO_GOAL = (
    r"check|numeric|approx|elu|softplus|swish|silu|sigmoid|softmax|tanh|activation|act_|deriv|prime|zero_grad|plot"
    r"|linear_|layer_"
)
FORWARD = (
    r"forward|feed|^__call__$|^(fw|fwd|ff|fp)$|^predict|fprop|propagate|^run$|^call$|inference|hypothesis|^output$|evaluate"
    r"|propag|vorwaerts|abfrag|calcul"
)
INITIAL = r"^mk|inici|creer|erzeug|init|create|make|build|random|new_|setup|get_params|weights"
LOSS = r"perdida|fehler|verlust|cout|loss|cost|objective|error|entropy|mse|criterion|nll|^err"
GRADIENT = re.compile(r"^_?(d|grad|g|delta|nabla|partial)_?(?=.)|(grad|_g|gradient|_d)$", re.I)
NO_WEIGHT = re.compile(r"^_*(d[a-z_]|grad|delta|nabla|v[d_]|vel|m[d_]|mom|cache|prev|old)", re.I)


def is_penalty(name: str) -> bool:
    """Whether an attribute or a global name is the coefficient of a penalty on the weights."""
    # what is called decay alone may belong to an optimizer
    return roles_of(name)[:1] == [Role.PENALTY] and plain(name) != "decay"


def literals() -> dict[Role, Any]:
    """The values of arguments that are the same whatever the network is."""
    return dict(zip(LITERAL, (1.0, STRENGTH.get(), 1, False, 0), strict=True))


def plain(name: str) -> str:
    """A name in lower case, without underscores."""
    return name.lower().replace("_", "")


def roles_of(name: str) -> list[Role]:
    """What an argument of a name may be for, the likeliest first."""
    bare = plain(name)
    return [role for role, pattern in _PATTERNS.items() if pattern.fullmatch(bare)]


def goals(names: list[str]) -> list[str]:
    """The functions among some that may give gradients, the likeliest first."""
    some = [name for name in names if not re.search(NO_GOAL, name, re.I)]
    ranked = [name for goal in GOALS for name in some if re.search(goal, name, re.I)]
    return [*dict.fromkeys(ranked)]


def is_forward(name: str) -> bool:
    """Whether a function of a name is a forward pass."""
    return bool(re.search(FORWARD, name, re.I)) and not re.search(NO_GOAL, name, re.I)


def stem(name: str) -> str:
    """The weight whose gradient has a name, as w1 of dW1, W1_grad or grads['W1']."""
    last = re.sub(r"[\[\]'\".]+", " ", name).split()[-1] if name else ""
    return plain(GRADIENT.sub("", last))
