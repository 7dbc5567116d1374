"""Small models as people write them, for `rmt advise`: each file has a function `make`, MODELS their inputs."""

# file:function -> the shape of one input, and more options of `rmt advise`.
MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mlp_mish.py:make": ("64", ()),
    "lenet.py:make": ("1,28,28", ()),
    "resnets.py:post_activation": ("3,16,16", ()),
    "resnets.py:pre_activation": ("3,16,16", ()),
    "gpt.py:make": ("12", ("--tokens", "50", "--between", "blocks,")),
    "lstm.py:make": ("20,8", ()),
    "unet.py:make": ("3,16,16", ()),
    "autoencoder.py:make": ("64", ()),
    "siren.py:make": ("2", ()),
    "group_norm_silu.py:make": ("3,16,16", ()),
    "mobilenet.py:make": ("3,16,16", ()),
    "custom_initialization.py:make": ("100", ()),
    "broken.py:all_zero_layer": ("32", ()),
    "broken.py:nan_weight": ("32", ()),
    "broken.py:detached": ("32", ()),
}
