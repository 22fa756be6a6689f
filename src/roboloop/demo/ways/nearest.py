"""The nearest of the contacts that MuJoCo has found, in compiled code."""

from typing import no_type_check

from roboloop.compiled import entry


@no_type_check
@entry
def nearest(geom, dist, counts, farthest):
    """The smallest distance of the pairs of geoms that count; `farthest` where none is nearer.

    Args:
        geom: (N, 2) the geoms of contacts.
        dist: (N,) their distances, m.
        counts: (G, G) which pairs count; an index may be -1.
        farthest: m.
    """
    for i in range(len(dist)):
        if dist[i] < farthest and counts[geom[i, 0], geom[i, 1]]:
            farthest = dist[i]
    return farthest
