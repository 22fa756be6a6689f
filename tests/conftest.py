"""Under pytest every annotation of roboloop, array shapes too, is checked on every call."""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float
install_import_hook("roboloop", f"{__name__}.check")
