"""Rotations against scipy's."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from roboloop import pose


@pytest.mark.parametrize("short_of_half_a_turn", [0.0, 1e-12, 1e-7, 1e-3, 0.2, 1.0, 3.1, 3.14159])
def test_rotation_vectors_are_scipys_up_to_half_a_turn(short_of_half_a_turn: float) -> None:
    rng = np.random.default_rng(0)
    axes = np.concatenate([np.eye(3), -np.eye(3), rng.normal(size=(50, 3))])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    R = Rotation.from_rotvec((np.pi - short_of_half_a_turn) * axes).as_matrix()
    v = pose.matrix_to_rotvec(R)
    assert np.linalg.norm(v, axis=1).max() <= np.pi + 1e-12
    np.testing.assert_allclose(Rotation.from_rotvec(v).as_matrix(), R, atol=1e-12)
    if short_of_half_a_turn > 1e-9:  # at half a turn both ways are right
        np.testing.assert_allclose(v, Rotation.from_matrix(R).as_rotvec(), atol=1e-9)
