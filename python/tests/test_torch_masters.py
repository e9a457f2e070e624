"""Parameters of 16 bits that are copies of float32 ones, which optimizers train: ``master_weights=True``."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_runs import CASES, EIGHT_BITS, OTHERS, names

import lockstep.torch as lt
from lockstep import checkpoint
from lockstep.torch import _walk

MATRICES: list[tuple[str, dict[str, Any]]] = [
    ("Muon", {"ns_steps": 2}),
    ("NorMuon", {"ns_steps": 2}),
    ("Adafactor", {"lr": 0.1}),
    ("RowWiseAdagrad", {"lr": 0.1}),
    ("RowWiseAdam", {"lr": 0.1}),
    ("RowWiseLAMB", {"lr": 0.1}),
]
SPARSE: list[tuple[str, dict[str, Any]]] = [
    ("SparseAdam", {}),
    ("RowWiseAdagrad", {"lr": 0.1}),
    ("RowWiseAdam", {}),
    ("RowWiseLAMB", {}),
]
AVERAGED: list[tuple[str, dict[str, Any]]] = [
    ("AdamWScheduleFree", {}),
    ("RAdamScheduleFree", {"lr": 0.02}),
    ("SGDScheduleFree", {}),
]
EVERY = [*CASES, *OTHERS, *AVERAGED, *MATRICES, *EIGHT_BITS]
HALVES = [torch.bfloat16, torch.float16]


def test_every_class() -> None:
    classes = {
        n for n in lt.__all__ if isinstance(getattr(lt, n), type) and issubclass(getattr(lt, n), lt.LockstepOptimizer)
    }
    tested = {name for name, _ in [*EVERY, *SPARSE]}
    assert classes - {"LockstepOptimizer"} == tested


def drawn(shape: Sequence[int], seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def parameters(name: str) -> list[Parameter]:
    """Parameters of both types: matrices, and for most classes such of all shapes, and with gaps between elements."""
    shapes: list[tuple[int, ...]] = [(8, 5), (5, 8)]
    if (name, {}) not in SPARSE and name not in {n for n, _ in MATRICES}:
        shapes += [(300,), (), (0,), (4, 3, 2, 2), (24,)]
    tensors = [drawn(shape, k, HALVES[k % 2]) for k, shape in enumerate(shapes)]
    if len(tensors) > 2:
        tensors[5] = tensors[5].to(memory_format=torch.channels_last)
        tensors[6] = drawn((48,), 6, torch.bfloat16)[::2]
    return [Parameter(t) for t in tensors]


def made(name: str, params: Any, kwargs: dict[str, Any], **more: Any) -> Any:
    optimizer = getattr(lt, name)(params, **copy.deepcopy(kwargs), **more)
    if hasattr(optimizer, "train"):
        optimizer.train()
    return optimizer


def reloaded(name: str, optimizer: Any, kwargs: dict[str, Any], **more: Any) -> Any:
    """A new optimizer of the same parameters, with the state that was saved."""
    saved = io.BytesIO()
    torch.save(optimizer.state_dict(), saved)
    saved.seek(0)
    fresh = getattr(lt, name)(params_of(optimizer), **copy.deepcopy(kwargs), **more)
    fresh.load_state_dict(torch.load(saved))
    return fresh


def params_of(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def give(optimizer: Any, other: Any, step: int) -> None:
    """Gives one optimizer gradients of 16 bits, and another the same as float32; in some steps not of all."""
    for k, (p, q) in enumerate(zip(params_of(optimizer), params_of(other))):
        if (step + k) % 4 == 3 and step < 3:
            p.grad = q.grad = None
            continue
        p.grad = torch.empty_like(p).copy_(drawn(p.shape, 100 * step + k, p.dtype))
        q.grad = torch.empty_like(q).copy_(p.grad)


def assert_alike(optimizer: Any, other: Any) -> None:
    """Masters and all state are those of float32 parameters, and parameters are these, rounded."""
    for p, q in zip(params_of(optimizer), params_of(other)):
        assert p.dtype in HALVES
        assert torch.equal(p, q.to(p.dtype))
        state, want = dict(optimizer.state[p]), other.state[q]
        if want or state:
            assert torch.equal(state.pop("master"), q)
        assert state.keys() == want.keys()
        for key, value in want.items():
            assert torch.equal(torch.as_tensor(state[key]), torch.as_tensor(value)), key
            assert key == "step" or state[key].dtype is torch.float32


@pytest.mark.parametrize(("name", "kwargs"), EVERY, ids=names(EVERY))
def test_steps_are_those_of_float32(name: str, kwargs: dict[str, Any]) -> None:
    params = parameters(name)
    optimizer = made(name, params, kwargs, master_weights=True)
    other = made(name, [Parameter(p.detach().float()) for p in params], kwargs)
    for step in range(9):
        give(optimizer, other, step)
        optimizer.step()
        other.step()
        assert_alike(optimizer, other)
        if step == 3:
            optimizer = reloaded(name, optimizer, kwargs, master_weights=True)
            other = reloaded(name, other, kwargs)
        if step == 5:
            optimizer, other = copy.deepcopy(optimizer), copy.deepcopy(other)
        if step == 6:
            optimizer, other = (pickle.loads(pickle.dumps(o)) for o in (optimizer, other))
            assert optimizer.master_weights
        for group in [*optimizer.param_groups, *other.param_groups]:
            group["lr"] = group["lr"] * 0.75


@pytest.mark.parametrize(("name", "kwargs"), AVERAGED, ids=names(AVERAGED))
def test_averaged_parameters(name: str, kwargs: dict[str, Any]) -> None:
    params = parameters(name)
    optimizer = made(name, params, kwargs, master_weights=True)
    other = made(name, [Parameter(p.detach().float()) for p in params], kwargs)
    for step in range(4):
        give(optimizer, other, step)
        optimizer.step()
        other.step()
        for turn in ("eval", "train"):
            getattr(optimizer, turn)()
            getattr(other, turn)()
            assert_alike(optimizer, other)


@pytest.mark.parametrize(("name", "kwargs"), SPARSE, ids=names(SPARSE))
@pytest.mark.parametrize("dtype", HALVES)
def test_sparse_gradients(name: str, kwargs: dict[str, Any], dtype: torch.dtype) -> None:
    p = Parameter(drawn((20, 3), 0, dtype))
    optimizer = made(name, [p], kwargs, master_weights=True)
    q = Parameter(p.detach().float())
    other = made(name, [q], kwargs)
    for step in range(5):
        rows = torch.tensor([[3, step, 19, 3]])
        p.grad = torch.sparse_coo_tensor(rows, drawn((4, 3), step, dtype), (20, 3))
        q.grad = torch.sparse_coo_tensor(rows, drawn((4, 3), step, dtype).float(), (20, 3))
        optimizer.step()
        other.step()
        assert_alike(optimizer, other)


BESIDE: list[tuple[str, dict[str, Any], float]] = [
    ("AdamW", {"lr": 0.02}, 2e-5),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, 1e-5),
    ("RMSprop", {"eps": 0.1}, 1e-5),
    ("Adagrad", {"lr": 0.1}, 1e-5),
    ("Adamax", {"lr": 0.02}, 1e-5),
]


@pytest.mark.parametrize(("name", "kwargs", "tolerance"), BESIDE, ids=[name for name, *_ in BESIDE])
@pytest.mark.parametrize("dtype", HALVES)
def test_beside_a_loop_of_torch(name: str, kwargs: dict[str, Any], tolerance: float, dtype: torch.dtype) -> None:
    """A loop by hand: torch's optimizer of float32 masters, and casts on the way in and out."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)).to(dtype)
    theirs = copy.deepcopy(model)
    masters = [p.detach().float().requires_grad_() for p in theirs.parameters()]
    optimizer = made(name, model.parameters(), kwargs, master_weights=True)
    by_hand = getattr(torch.optim, name)(masters, **kwargs)
    apart = 0
    for step in range(20):
        x = drawn((64, 16), step, dtype)
        for m in (model, theirs):
            m.zero_grad(set_to_none=step % 2 == 0)
            torch.autograd.backward((m(x) - x[:, :1]).float().square().mean())
        for p, q in zip(model.parameters(), theirs.parameters()):
            q.grad = copy.copy(p.grad)  # which differ once a parameter is rounded the other way
        for p, master in zip(theirs.parameters(), masters):
            master.grad = None if p.grad is None else p.grad.float()
        optimizer.step()
        by_hand.step()
        with torch.no_grad():
            for p, master in zip(theirs.parameters(), masters):
                p.copy_(master)
        for p, q, master in zip(model.parameters(), theirs.parameters(), masters):
            torch.testing.assert_close(optimizer.state[p]["master"], master.detach(), rtol=tolerance, atol=tolerance)
            apart += int(p.ne(q).sum())
    assert apart < 20 * sum(p.numel() for p in masters) / 100


def pair(dtype: torch.dtype = torch.bfloat16, n: int = 1000) -> tuple[Any, Any, Any, Any]:
    p = Parameter(drawn((n,), 0, dtype))
    q = Parameter(p.detach().float())
    return lt.AdamW([p], lr=0.02, master_weights=True), lt.AdamW([q], lr=0.02), p, q


def test_clipping_and_observing() -> None:
    optimizer, other, p, q = pair()
    observer = optimizer.observe_gradients()
    for step in range(6):
        x = drawn((1000,), step, torch.bfloat16)
        p.grad = None
        torch.autograd.backward((p * x).sum())
        q.grad = p.grad.float()
        if step == 4:
            p.grad.mul_(2)
            q.grad.mul_(2)
        seen = [len(observer._seen), observer._plan is not None]
        assert seen == ([1, True] if step else [0, False])
        norm, want = (lt.clip_grad_norm_and_step(o, 1.0) for o in (optimizer, other))
        assert norm == want > 1
        assert_alike(optimizer, other)
    observer.remove()
    lt.clip_grad_value_and_step(optimizer, 0.25)
    lt.clip_grad_value_and_step(other, 0.25)
    assert_alike(optimizer, other)


def test_an_observed_gradient_that_the_scaler_multiplies_is_read_again() -> None:
    optimizer, other, p, q = pair(torch.float16)
    optimizer.observe_gradients()
    for step in range(3):
        p.grad = None
        torch.autograd.backward((p * drawn((1000,), step, torch.float16)).sum())
        torch._foreach_mul_([p.grad.data], 0.5)  # which no version tells of
        q.grad = p.grad.float()
        assert lt.clip_grad_norm_and_step(optimizer, 1.0) == lt.clip_grad_norm_and_step(other, 1.0)
        assert_alike(optimizer, other)


def test_grad_scaler() -> None:
    """Gradients of float16 under a scale are unscaled in the step, in float32; those that overflow skip it."""
    optimizer, other, p, q = pair(torch.float16)
    scaler, scale = torch.amp.GradScaler("cpu", init_scale=1024.0), 1024.0
    for step in range(5):
        g = drawn((1000,), step, torch.float16) * 2**-7
        p.grad = (g.float() * scale).half()
        q.grad = p.grad.float() / scale
        if step == 2:
            p.grad[7] = float("inf")
        scaler.scale(torch.ones(()))
        if step == 3:
            lt.clip_grad_norm_and_step(optimizer, 0.1, scaler=scaler)
            lt.clip_grad_norm_and_step(other, 0.1)
        else:
            scaler.step(optimizer)
            if step != 2:
                other.step()
        scaler.update()
        scale = scaler.get_scale()
        assert (scale == 1024) == (step < 2)
        assert_alike(optimizer, other)


def test_large_steps_on_threads() -> None:
    optimizer, other, *_ = pair(n=300_000)
    torch.set_num_threads(2)
    try:
        for step in range(3):
            give(optimizer, other, step + 3)
            optimizer.step()
            other.step()
            assert_alike(optimizer, other)
    finally:
        torch.set_num_threads(1)


def test_without_the_library_walking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_walk, "_interface", lambda: None)
    optimizer, other, p, _ = pair()
    for step in range(4):
        give(optimizer, other, step + 3)
        optimizer.step()
        other.step()
        assert_alike(optimizer, other)
    assert isinstance(optimizer._plan._walk, _walk._InPython)
    p.grad = None
    optimizer.step()
    assert optimizer.state[p]["step"] == 4


def test_usual_steps_walk_in_the_library() -> None:
    if _walk._interface() is None:
        pytest.skip("Python, PyTorch or the library lack what it takes")
    optimizer, other, *_ = pair()
    for step in range(3):
        give(optimizer, other, step + 3)
        optimizer.step()
    assert isinstance(optimizer._plan._walk, _walk._InC)


def test_parameters_that_somebody_writes_to_lead() -> None:
    optimizer, other, p, q = pair()
    for step in range(6):
        give(optimizer, other, step + 3)
        if step == 2:
            before = p.detach().clone()
            torch.nn.init.normal_(p)
            with torch.no_grad():
                q.copy_(torch.where(p.ne(before), p.float(), q))
        if step == 4:  # of others the master keeps all of its bits
            with torch.no_grad():
                p[5] = 3
                q[5] = 3
        optimizer.step()
        other.step()
        assert_alike(optimizer, other)


def test_before_the_first_step_parameters_may_change() -> None:
    optimizer, other, *_ = pair()
    r = Parameter(drawn((7,), 1, torch.bfloat16))
    s = Parameter(r.detach().float())
    for o, x in ((optimizer, r), (other, s)):
        o.add_param_group({"params": [x], "lr": 0.5})
    for step in range(4):
        give(optimizer, other, 3)
        if step < 2:
            r.grad = s.grad = None
            with torch.no_grad():
                r.add_(1)
                s.copy_(r)
        optimizer.step()
        other.step()
        assert_alike(optimizer, other)


def test_state_without_masters() -> None:
    """A state of torch's own optimizer of bfloat16 is taken: masters begin as the parameters."""
    p = Parameter(drawn((50,), 0, torch.bfloat16))
    theirs = torch.optim.AdamW([p], lr=0.02)
    p.grad = drawn((50,), 1, torch.bfloat16)
    theirs.step()
    optimizer = lt.AdamW([p], lr=0.02, master_weights=True)
    optimizer.load_state_dict(theirs.state_dict())
    q = Parameter(p.detach().float())
    other = lt.AdamW([q], lr=0.02)
    other.load_state_dict(theirs.state_dict())
    give(optimizer, other, 3)
    optimizer.step()
    other.step()
    assert_alike(optimizer, other)


def test_hooks_see_a_state_that_is_loaded() -> None:
    optimizer, _, p, _ = pair()
    give(optimizer, optimizer, 3)
    optimizer.step()
    saved, seen = optimizer.state_dict(), []
    other = lt.AdamW([p], lr=0.02, master_weights=True)

    def double(_: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        seen.append(state_dict["state"][0]["exp_avg"].dtype)
        return {**state_dict, "state": {0: {k: 2 * v for k, v in state_dict["state"][0].items()}}}

    other.register_load_state_dict_pre_hook(double)
    other.load_state_dict(saved)
    assert seen == [torch.float32]
    assert torch.equal(other.state[p]["exp_avg"], 2 * optimizer.state[p]["exp_avg"])
    assert len(other._optimizer_load_state_dict_pre_hooks) == 1


@pytest.mark.skipif(not hasattr(Tensor, "grad_dtype"), reason="this PyTorch has gradients of a parameter's type alone")
def test_gradients_of_float32() -> None:
    optimizer, other, p, q = pair()
    p.grad_dtype = None
    for step in range(4):
        p.grad = drawn((1000,), step, torch.float32 if step % 2 else torch.bfloat16)
        q.grad = p.grad.float()
        optimizer.step()
        other.step()
        assert_alike(optimizer, other)


@pytest.mark.skipif(not hasattr(Tensor, "grad_dtype"), reason="this PyTorch has gradients of a parameter's type alone")
def test_observed_gradients_of_changing_types() -> None:
    optimizer, other, p, q = pair()
    observer = optimizer.observe_gradients()
    for step in range(6):
        p.grad = None
        p.grad_dtype = torch.float32 if step in (0, 1, 4) else torch.bfloat16
        torch.autograd.backward((p * drawn((1000,), step, torch.bfloat16)).sum())
        assert p.grad.dtype is p.grad_dtype
        assert len(observer._seen) == (step in (1, 3))  # where the type is that of the step before
        q.grad = p.grad.float()
        assert lt.clip_grad_norm_and_step(optimizer, 1.0) == lt.clip_grad_norm_and_step(other, 1.0)
        assert_alike(optimizer, other)


def test_float32_parameters_beside_them() -> None:
    optimizer, other, *_ = pair()
    r, s = (Parameter(drawn((9,), 2, torch.float32)) for _ in range(2))
    optimizer.add_param_group({"params": [r]})
    other.add_param_group({"params": [s]})
    for step in range(3):
        for k, (x, y) in enumerate(zip(params_of(optimizer), params_of(other))):
            x.grad = drawn(x.shape, step + k, x.dtype)
            y.grad = x.grad.float()
        optimizer.step()
        other.step()
        assert torch.equal(r, s)
        assert "master" not in optimizer.state[r]
    assert torch.equal(params_of(optimizer)[0], params_of(other)[0].bfloat16())


def test_refused() -> None:
    p = Parameter(torch.ones(3, dtype=torch.bfloat16))
    wish = "parameter 0 of group 0 is torch.bfloat16, want torch.float32, or master_weights=True"
    with pytest.raises(lt.UnsupportedError, match=wish):
        lt.AdamW([p])
    with pytest.raises(lt.UnsupportedError, match="is torch.float64, want torch.float32"):
        lt.AdamW([Parameter(torch.ones(3, dtype=torch.float64))], master_weights=True)
    optimizer = lt.AdamW([p], lr=0.5, master_weights=True)
    p.grad = torch.ones(3, dtype=torch.bfloat16)
    optimizer.step()
    with pytest.raises(lt.UnsupportedError, match=r"is torch.bfloat16, want torch.float32: .* has masters"):
        checkpoint.save("never", optimizer)
    optimizer.state[p]["exp_avg"] = torch.zeros(3, dtype=torch.bfloat16)
    before = p.detach().clone()
    with pytest.raises(
        lt.UnsupportedError, match="the state exp_avg of parameter 0 of group 0 is torch.bfloat16, want"
    ):
        optimizer.step()
    assert torch.equal(p, before)


def test_fallback_leaves_them_to_torch_without_masters() -> None:
    p = Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = lt.AdamW([p], lr=0.5, fallback=True)
    p.grad = torch.ones(3, dtype=torch.bfloat16)
    optimizer.step()
    assert optimizer.state[p]["exp_avg"].dtype is torch.bfloat16
    assert "master" not in optimizer.state[p]
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()
    assert optimizer.state[p]["exp_avg"].dtype is torch.bfloat16


def test_hessian() -> None:
    p = Parameter(drawn((50,), 0, torch.bfloat16))
    q = Parameter(p.detach().float())
    optimizer = lt.SophiaG([p], bs=7, master_weights=True)
    other = lt.SophiaG([q], bs=7)
    for step in range(3):
        give(optimizer, other, 3 + step)
        optimizer.update_hessian()
        other.update_hessian()
        optimizer.step()
        other.step()
        assert_alike(optimizer, other)
