"""A sentence -> task kind and objects of the scene, without a language model."""

import colorsys
import re
from dataclasses import dataclass

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.families import FAMILIES
from roboloop.scene.graph import Joint, Rgb, SceneGraph, SceneObject

_PUT = r"(?:put|place|set|move|stack|drop|pick up)"
_AND = r"(?: and (?:put|place) it)?"
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("put_in", rf"{_PUT} (?P<object>.+?){_AND} (?:in|into|inside(?: of)?) (?P<target>.+)"),
    ("put_on", rf"{_PUT} (?P<object>.+?){_AND} (?:on|onto|upon|on top of) (?P<target>.+)"),
    (
        "pour",
        r"(?:pour|empty)(?: out)?(?: .+? (?:from|out of))? (?P<object>.+?)"
        r" (?:in|into) (?P<target>.+)",
    ),
    ("thread", rf"(?:thread|{_PUT}) (?P<object>.+?) through (?P<target>.+)"),
    ("turn_on", r"(?:turn|switch) on (?P<target>.+)"),
    ("turn_off", r"(?:turn|switch) off (?P<target>.+)"),
    ("turn_on", r"(?:turn|switch) (?P<target>.+?)(?: on)?"),
    ("open", r"(?:open|pull open|pull out) (?P<target>.+)"),
    ("close", r"(?:close|shut|push in) (?P<target>.+)"),
    ("lift", r"(?:lift|raise|pick up)(?: up)? (?P<object>.+?)(?: up)?"),
    ("fold", r"fold(?: up)? (?P<object>.+?)(?: in half| up)?"),
    ("press", r"(?:press|push|hit)(?: down)?(?: on)? (?P<target>.+)"),
)
_FILLER = {"the", "a", "an", "of", "that", "is", "please", "its", "one", "colored", "top"}
BRIGHTNESS_MARGIN = 0.1
_LEVELS = {"top": 0, "upper": 0, "first": 0, "middle": 1, "second": 1, "bottom": -1, "lower": -1}
_MOVED = {"turn_on": ("knob",), "turn_off": ("knob",), "press": ("button",)}
"""What a task kind moves, where that is neither a drawer nor a door."""
LID = "lid"
"""The joint of what opens upwards."""
_SIDES = {"left": (0, -1), "right": (0, 1), "front": (1, 1), "back": (1, -1), "rear": (1, -1)}
"""Word -> (image axis, sign): the object furthest that way in the camera's view."""


@dataclass(frozen=True)
class Reading:
    """What a sentence means in a scene."""

    kind: str
    roles: dict[str, str]
    joint: str | None
    """The drawer or door that it is about, without the object's name."""


def read_sentence(sentence: str, graph: SceneGraph) -> Reading:
    """Match a sentence to a task kind and to objects of the scene.

    Raises:
        RoboloopError: No kind fits, or a phrase fits no object, or several.
    """
    text = re.sub(r"[^a-z0-9 ]+", " ", sentence.lower())
    text = " ".join(text.split()).removeprefix("please ")
    matches = ((kind, re.fullmatch(pattern, text)) for kind, pattern in _PATTERNS)
    kind, match = next((found for found in matches if found[1]), ("", None))
    if match is None:
        raise RoboloopError(
            f"no task kind fits the sentence `{sentence}`",
            "say `put A on B`, `put A in B`, `pour A into B`, `open A`, `close A`, `turn on A`, "
            "`turn off A`, `press A`, `lift A` or `fold A`",
        )
    phrases = match.groupdict()
    roles: dict[str, str] = {}
    for role, phrase in phrases.items():
        roles[role] = _find_object(phrase, graph, exclude=set(roles.values())).name
    joint = None
    if "target" in roles:
        joint = _find_joint(kind, phrases["target"], graph.object(roles["target"]))
    return Reading(kind, roles, joint.name if joint else None)


def color_words(rgb: Rgb) -> set[str]:
    """The colour words that fit an sRGB colour (0..1)."""
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    if value < 0.25:
        return {"black", "dark"}
    if saturation < 0.18:
        names = {"white", "light"} if value > 0.7 else {"grey", "gray", "silver"}
        return names | ({"black", "dark"} if value < 0.4 else set())
    bounds = ((20, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (260, "blue"))
    name = next((n for limit, n in bounds if hue * 360 < limit), "purple")
    name = "red" if hue * 360 > 335 else name
    brown = {"brown"} if name in ("red", "orange") and value < 0.65 else set()
    return {name} | brown | ({"dark", "black"} if value < 0.35 else set())


def _find_object(phrase: str, graph: SceneGraph, exclude: set[str]) -> SceneObject:
    words = [w for w in phrase.split() if w not in _FILLER]
    fits = [o for o in graph.objects if o.name not in exclude and _category_fits(words, o)]
    if not fits:
        seen = ", ".join(f"{o.name} ({'/'.join(sorted(_colors(o)))})" for o in graph.objects)
        raise RoboloopError(f"no object in the scene fits `{phrase}`", f"the scene has: {seen}")
    by_main = [o for o in fits if set(words) & color_words(o.colors["main"])]
    fits = by_main or _by_brightness(words, fits)
    for word in words:
        if word in _SIDES and len(fits) > 1:
            axis, sign = _SIDES[word]
            fits = [max(fits, key=lambda o, a=axis, s=sign: s * _image_position(o, graph)[a])]
    # `mug` beside `mug_2` is the category, not a name; `square_nut` beside `round_nut` is one
    named = [o for o in fits if o.name.split("_") == words and not _is_category(o, fits)]
    fits = named or fits
    if len(fits) > 1:
        raise RoboloopError(
            f"`{phrase}` fits several objects: {', '.join(o.name for o in fits)}",
            "add a colour, left/right/front/back, or the object's name",
        )
    return fits[0]


def _by_brightness(words: list[str], objects: list[SceneObject]) -> list[SceneObject]:
    """The whitest or darkest object, where one stands out: in dim light white things look grey."""
    sign = 1 if {"white", "light"} & set(words) else -1 if {"black", "dark"} & set(words) else 0
    if not sign or len(objects) < 2:
        return objects
    ranked = sorted(objects, key=lambda o: -sign * min(o.colors["main"]))
    first, second = (min(o.colors["main"]) for o in ranked[:2])
    return ranked[:1] if abs(first - second) > BRIGHTNESS_MARGIN else objects


def _category_fits(words: list[str], obj: SceneObject) -> bool:
    known = {obj.category.replace("_", " "), *FAMILIES[obj.category].words}
    known |= {joint.name.partition("_")[0] for joint in obj.joints}
    text = " ".join(words)
    return any(re.search(rf"\b{re.escape(w)}s?\b", text) for w in known) or (
        obj.name.replace("_", " ") == text
    )


def _is_category(obj: SceneObject, others: list[SceneObject]) -> bool:
    """Whether an object's name is just what several of its kind are called."""
    return obj.name == obj.category and any(
        o is not obj and o.category == obj.category for o in others
    )


def _colors(obj: SceneObject) -> set[str]:
    return set().union(*(color_words(c) for c in obj.colors.values()))


def _image_position(obj: SceneObject, graph: SceneGraph) -> tuple[float, float]:
    p = pose.transform(pose.inverse(graph.camera.T_world_camera), obj.T_world_obj[:3, 3])
    return float(p[0] / p[2]), float(p[1] / p[2])


def _find_joint(kind: str, phrase: str, target: SceneObject) -> Joint | None:
    words = phrase.split()
    if kind in ("pour", "thread") or (kind in ("put_on", "put_in") and "drawer" not in words):
        return None
    names = _MOVED.get(kind, ("drawer", "door", LID))
    joints = [j for j in target.joints if j.name.partition("_")[0] in names]
    if not joints:
        what = " and no ".join(names)
        raise RoboloopError(f"`{target.name}` ({target.category}) has no {what}")
    levels = [_LEVELS[w] for w in words if w in _LEVELS]
    if len(joints) > 1 and levels:
        return joints[min(levels[0], len(joints) - 1)]
    if len(joints) > 1:
        raise RoboloopError(
            f"`{phrase}` does not say which of the {len(joints)} drawers of `{target.name}`",
            "add top, middle or bottom",
        )
    return joints[0]
