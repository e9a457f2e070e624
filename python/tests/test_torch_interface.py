"""torch's interface: groups, closures, hooks, gradients and parameters that change, and what is refused."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
import torch_runs as runs
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim import optimizer as base
from torch.optim.lr_scheduler import OneCycleLR

import lockstep
import lockstep.torch as lt

Change = Callable[[Optimizer], None]
ADAMW = ((lt.AdamW, torch.float32), (torch.optim.AdamW, torch.float32), (torch.optim.AdamW, torch.float64))


def with_grad(*values: float) -> Parameter:
    p = Parameter(torch.tensor(values, dtype=torch.float32))
    p.grad = torch.ones_like(p)
    return p


@pytest.mark.parametrize(("torchs", "ours"), runs.PAIRS)
def test_signatures(torchs: Any, ours: Any) -> None:
    expected = list(inspect.signature(torchs).parameters.values())
    apart = ("cautious_", "state_", "bf16_")
    mine = [p for p in inspect.signature(ours).parameters.values() if not p.name.startswith(apart)]
    for name in ("split_master", "master_weights"):
        masters = mine.pop(-2)
        assert (masters.name, masters.default, masters.kind) == (name, False, inspect.Parameter.KEYWORD_ONLY)
    assert [(p.name, p.default, p.kind) for p in mine[:-1]] == [(p.name, p.default, p.kind) for p in expected]
    assert (mine[-1].name, mine[-1].default, mine[-1].kind) == ("fallback", False, inspect.Parameter.KEYWORD_ONLY)
    assert issubclass(ours, torchs)


@pytest.mark.parametrize("name", ["Lion", "LAMB", "AdaBelief"])
def test_arguments_of_others(name: str) -> None:
    optimizer = getattr(lt, name)([with_grad(1, 2)], 0.1, (0.5, 0.75), weight_decay=0.25, maximize=True)
    group = optimizer.param_groups[0]
    assert {group["lr"], group["weight_decay"], group["betas"]} == {0.1, 0.25, (0.5, 0.75)}
    with pytest.raises(ValueError, match="beta2 is 1, want"):
        getattr(lt, name)([with_grad(1)], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="lr is -1, want"):
        getattr(lt, name)([with_grad(1)], lr=-1)


def lion(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    u = (0.9 * s["m"] + 0.1 * g).sign()
    s["m"] = 0.99 * s["m"] + 0.01 * g
    return p - 0.01 * (u + 0.1 * p)


def moments(g: Tensor, other: Tensor, s: dict[str, Tensor], t: int) -> tuple[Tensor, Tensor]:
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["v"] = 0.999 * s["v"] + 0.001 * (g - other * s["m"]) ** 2
    return s["m"] / (1 - 0.9**t), s["v"] / (1 - 0.999**t)


def lamb(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    m, v = moments(g, torch.tensor(0), s, t)
    u = m / (v.sqrt() + 1e-6) + 0.1 * p
    ratio = p.norm() / u.norm() if p.norm() > 0 and u.norm() > 0 else torch.tensor(1)
    return p - 0.01 * ratio * u


def adabelief(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    m, _ = moments(g, torch.tensor(1), s, t)
    s["v"] = s["v"] + 1e-16
    return p - 0.01 * 0.1 * p - 0.01 * m / ((s["v"] / (1 - 0.999**t)).sqrt() + 1e-16)


@pytest.mark.parametrize(("cls", "formula"), [(lt.Lion, lion), (lt.LAMB, lamb), (lt.AdaBelief, adabelief)])
def test_formulas(cls: Any, formula: Any) -> None:
    """The rules that torch does not have, beside their papers' formulas in float64."""
    optimizer = cls(runs.parameters(), lr=0.01, weight_decay=0.1)
    params = [p.detach().double() for p in runs.parameters()]
    states = [{"m": torch.zeros_like(p), "v": torch.zeros_like(p)} for p in params]
    exact = []
    for t in range(1, 31):
        leaves = [p.clone().requires_grad_() for p in params]
        runs.loss(leaves, t).backward()  # type: ignore[no-untyped-call]
        for k, (p, s) in enumerate(zip(leaves, states)):
            assert p.grad is not None
            params[k] = formula(p.detach(), p.grad, s, t)
        exact.append(params.copy())
    assert runs.error(runs.run(optimizer, range(1, 31)), exact) < 200


# What changes between steps.


def add_group(o: Optimizer) -> None:
    dtype = o.param_groups[0]["params"][0].dtype
    o.add_param_group({"params": [Parameter(torch.ones(40, dtype=dtype))], "lr": 0.05})


def set_lr(o: Optimizer) -> None:
    o.param_groups[0]["lr"] = 0.01


def set_options(o: Optimizer) -> None:
    o.param_groups[0].update(betas=[0.8, 0.99], eps=1e-4, weight_decay=0.2, maximize=True)


def set_betas_in_place(o: Optimizer) -> None:
    set_options(o)
    o.param_groups[0]["betas"][1] = 0.9


def fill_lr(o: Optimizer) -> None:
    o.param_groups[0]["lr"] = torch.tensor(0.01)


def new_data(o: Optimizer) -> None:
    for p in runs.params_of(o):
        p.data = p.data + 1


def transposed_data(o: Optimizer) -> None:
    p = o.param_groups[0]["params"][0]
    p.data = p.data.t().contiguous().t()


def new_param(o: Optimizer) -> None:
    params = o.param_groups[0]["params"]
    params[0] = Parameter(params[0].detach() + 1)


def fewer_params(o: Optimizer) -> None:
    del o.param_groups[0]["params"][1]


def freeze(o: Optimizer) -> None:
    params = o.param_groups[0]["params"]
    o.param_groups[0]["params"] = [*params[::-1], Parameter(torch.ones(3, dtype=params[0].dtype))]


CHANGES = [
    add_group,
    set_lr,
    set_options,
    set_betas_in_place,
    fill_lr,
    new_data,
    transposed_data,
    new_param,
    fewer_params,
    freeze,
]


@pytest.mark.parametrize("change", CHANGES)
def test_changes(change: Change) -> None:
    ways = []
    for cls, dtype in ADAMW:
        optimizer: Optimizer = cls(runs.parameters(dtype))
        runs.run(optimizer, range(4))
        change(optimizer)
        ways.append(runs.run(optimizer, range(4, 12)))
    runs.assert_as_close(*ways)


def test_lr_in_place() -> None:
    """A rate that is a tensor may be changed in place."""
    ways = []
    for cls, dtype in ADAMW:
        rate = torch.tensor(0.1)
        optimizer: Optimizer = cls(runs.parameters(dtype), lr=rate)

        def halve(_: Any, k: int, value: Tensor, rate: Tensor = rate) -> None:
            rate.mul_(0.5)

        ways.append(runs.run(optimizer, range(6), halve))
    runs.assert_as_close(*ways)


def test_momentum_cycles() -> None:
    """OneCycleLR changes betas with the rate in every step."""
    ways = []
    for cls, dtype in ADAMW:
        optimizer: Optimizer = cls(runs.parameters(dtype))
        cycle = OneCycleLR(optimizer, 0.1, total_steps=25)
        ways.append(runs.run(optimizer, range(20), lambda *_, cycle=cycle: cycle.step()))
    runs.assert_as_close(*ways)


# Gradients.


@pytest.mark.parametrize("missing", [0, 5, 6])
def test_missing_gradients(missing: int) -> None:
    """A parameter without a gradient is left out, and keeps its own count of steps."""
    ways = []
    for cls, dtype in ADAMW:
        optimizer: Optimizer = cls(runs.parameters(dtype))
        params = runs.params_of(optimizer)

        def leave_out(o: Any, args: Any, kwargs: Any, params: list[Tensor] = params) -> None:
            k = int(sum(float(s["step"]) for s in o.state.values()))
            if k % 3 == 0:
                params[missing].grad = None

        optimizer.register_step_pre_hook(leave_out)
        ways.append(runs.run(optimizer, range(12)))
        if len(ways) == 1:
            counts = [int(s["step"]) for s in optimizer.state.values()]
        else:
            assert counts == [int(s["step"]) for s in optimizer.state.values()]
    runs.assert_as_close(*ways)


@pytest.mark.parametrize(
    "grad",
    [
        lambda: torch.arange(6.0).reshape(3, 2).t(),
        lambda: torch.tensor(2.0).expand(2, 3),
        lambda: torch.arange(12.0).reshape(2, 6)[:, ::2],
        lambda: torch.arange(60.0)[7:13].reshape(2, 3),
        lambda: torch.view_as_complex(torch.arange(12.0).reshape(2, 3, 2)).conj().imag,
    ],
)
def test_layouts_of_gradients(grad: Callable[[], Tensor]) -> None:
    ps = [Parameter(torch.ones(2, 3)) for _ in range(2)]
    one, other = lt.SGD([ps[0]], lr=0.5), torch.optim.SGD([ps[1]], lr=0.5)
    for _ in range(3):  # a first step is looked at more closely than those after it
        for p, o in zip(ps, (one, other)):
            p.grad = grad()
            o.step()
    torch.testing.assert_close(*ps)


def test_gradient_with_the_sign_outside() -> None:
    """What autograd makes of a conjugate may be a view with the opposite sign."""
    ways = []
    for cls in (lt.SGD, torch.optim.SGD):
        p = Parameter(torch.ones(1))
        optimizer: Optimizer = cls([p], lr=0.1)
        for _ in range(3):
            p.grad = torch.tensor([1 + 2j]).conj().imag
            optimizer.step()
        ways.append(p.detach())
    assert p.grad is not None
    assert p.grad.is_neg()
    torch.testing.assert_close(*ways)


def test_state_with_the_sign_outside() -> None:
    ways = []
    for cls in (lt.SGD, torch.optim.SGD):
        p = with_grad(3)
        optimizer: Optimizer = cls([p], lr=0.1, momentum=0.5)
        optimizer.step()
        state = optimizer.state[p]
        state["momentum_buffer"] = torch._neg_view(state["momentum_buffer"])
        optimizer.step()
        ways.append(p.detach())
    torch.testing.assert_close(*ways)


@pytest.mark.parametrize(
    "make",
    [
        lambda t: t.reshape(4, 6).t(),
        lambda t: t.reshape(2, 3, 2, 2).to(memory_format=torch.channels_last),
        lambda t: t.reshape(4, 6)[:, 1:4],
        lambda t: t[5:],
        lambda t: t.reshape(4, 6)[::2],
        lambda t: t.reshape(24, 1)[:, 0],
    ],
)
def test_layouts_of_parameters(make: Callable[[Tensor], Tensor]) -> None:
    """Parameters in any order of memory and with gaps, in which nothing is written."""
    ways = []
    for cls in (lt.AdamW, torch.optim.AdamW):
        storage = torch.arange(24.0)
        p = Parameter(make(storage))
        optimizer: Optimizer = cls([p], lr=0.1)
        for k in range(4):
            p.grad = torch.arange(float(p.numel())).reshape(p.shape) - k
            optimizer.step()
        ways.append((p.detach().contiguous(), storage))
    torch.testing.assert_close(*ways)


def test_retained_graphs_notice() -> None:
    """Autograd refuses to go back through a parameter that a step has changed."""
    p = Parameter(torch.ones(3))
    optimizer = lt.SGD([p], lr=0.5)
    for _ in range(2):  # both ways to take a step
        value = (p**2).sum()
        torch.autograd.backward(value, retain_graph=True)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.backward(value)


# Closures and hooks.


def test_closure() -> None:
    p = Parameter(torch.ones(3))
    optimizer = lt.SGD([p], lr=0.5)

    def closure() -> Tensor:
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        value = (p**2).sum()
        torch.autograd.backward(value)
        return value

    with torch.no_grad():
        assert optimizer.step(closure) == 3
        assert not torch.is_grad_enabled()
    assert torch.equal(p.detach(), torch.zeros(3))
    assert optimizer.step() is None


def test_hooks() -> None:
    seen = []
    optimizer = lt.SGD([with_grad(1)], lr=1)
    handles = [
        base.register_optimizer_step_pre_hook(lambda o, args, kwargs: seen.append("all, before")),
        optimizer.register_step_pre_hook(
            lambda o, args, kwargs: seen.append(f"before {runs.params_of(o)[0].item()} {len(args)}")
        ),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(f"after {runs.params_of(o)[0].item()}")),
        base.register_optimizer_step_post_hook(lambda o, args, kwargs: seen.append("all, after")),
    ]
    optimizer.step()
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert seen == ["all, before", "before 1.0 1", "after 0.0", "all, after"]


def test_state_dict_hooks() -> None:
    optimizer = lt.SGD([with_grad(1)], lr=1, momentum=0.5)
    optimizer.step()
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    state = optimizer.state_dict()
    assert state.pop("more") == 1
    optimizer.register_load_state_dict_pre_hook(lambda o, state: {**state, "state": {}})
    optimizer.load_state_dict(state)
    assert not optimizer.state


def test_profiled() -> None:
    optimizer = lt.AdamW([with_grad(1)])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    assert any(event.key == "Optimizer.step#AdamW.step" for event in profile.key_averages())


def test_subclass() -> None:
    class Mine(lt.AdamW):
        steps = 0

        def step(self, closure: Any = None) -> Any:
            self.steps += 1
            return super().step(closure)

    optimizer = Mine([with_grad(1)], lr=0.5)
    optimizer.step()
    assert optimizer.steps == 1
    assert optimizer.state_dict()["state"][0]["step"] == 1


def test_named_parameters() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = lt.AdamW(model.named_parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    optimizer.state[model.bias]["exp_avg"] = torch.ones(7)
    with pytest.raises(lt.UnsupportedError, match="the state exp_avg of parameter bias has shape"):
        optimizer.step()


def test_grad_scaler() -> None:
    """A scaler's factor is taken in the step; a step whose gradients overflow is left out."""
    ways = []
    for cls in (lt.AdamW, torch.optim.AdamW):
        p = Parameter(torch.linspace(1, 2, 5))
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
        optimizer: Optimizer = cls([p], lr=0.1)
        for k in range(6):
            optimizer.zero_grad()
            torch.autograd.backward(scaler.scale((p**2).sum() * (torch.inf if k == 3 else 1)))
            scaler.step(optimizer)
            scaler.update()
        assert optimizer.state[p]["step"] == 5
        ways.append(p.detach())
    torch.testing.assert_close(*ways)


def test_grad_scaler_and_fallback() -> None:
    """Gradients that are left to torch, of parameters of another type and sparse ones, are unscaled, too."""
    ways = []
    for ours in (True, False):
        params = [Parameter(torch.linspace(1, 2, 6)) for _ in range(2)]
        params += [Parameter(torch.ones(3, dtype=d)) for d in (torch.float64, torch.bfloat16)]
        scaler = torch.amp.GradScaler("cpu", init_scale=1000.0, growth_interval=2)
        options: dict[str, Any] = {"lr": 0.1, "momentum": 0.5}
        optimizer: Any = lt.SGD(params, **options, fallback=True) if ours else torch.optim.SGD(params, **options)
        for k in range(8):
            scale = float(scaler.scale(torch.ones(())))
            for p in params:
                p.grad = torch.full_like(p, (k + 1) / 8 * scale)
            if k == 3:
                indices, values = torch.tensor([[1, 1, 4]]), [scale, scale, -scale]  # which are not coalesced
                params[1].grad = torch.sparse_coo_tensor(indices, values, (6,), check_invariants=True)
            if k == 5:  # in what torch steps alone
                params[2].grad[1] = torch.inf  # type: ignore[index]
            scaler.step(optimizer)
            scaler.update()
        ways.append([*(p.detach() for p in params), scaler.get_scale()])
    for x, y, rtol in zip(*ways, (1e-6, 1e-6, 1e-6, 1e-2, 0.0)):
        torch.testing.assert_close(x, y, rtol=rtol, atol=0)


def _clip_and_step(by_value: bool, ours: bool, params: list[Any], optimizer: Any, scaler: Any) -> Tensor | None:
    """A step by a scaler of gradients that are clipped, here in one call."""
    if ours and by_value:
        lt.clip_grad_value_and_step(optimizer, 0.5, scaler=scaler)
        return None
    if ours:
        return lt.clip_grad_norm_and_step(optimizer, 1, scaler=scaler)
    norm = None
    if by_value:
        torch.nn.utils.clip_grad_value_(params, 0.5)
    else:
        norm = torch.nn.utils.clip_grad_norm_(params, 1)
    scaler.step(optimizer)
    return norm


@pytest.mark.parametrize("by_value", [False, True])
@pytest.mark.parametrize("unscaled", [False, True])
@pytest.mark.parametrize("fallback", [False, True])
def test_clipping_of_scaled_gradients(by_value: bool, unscaled: bool, fallback: bool) -> None:
    """Clipping is of gradients that are unscaled, here, before or by torch, in one norm; overflow skips the step."""
    ways = []
    for ours in (True, False):
        params = [Parameter(torch.zeros(3)), Parameter(torch.zeros(3, dtype=torch.float64 if fallback else None))]
        optimizer: Any = lt.SGD(params, lr=1, fallback=fallback) if ours else torch.optim.SGD(params, lr=1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
        seen = []
        for k in range(6):
            optimizer.zero_grad()
            slopes = torch.tensor([3.0, -0.25, (k + 1) * (torch.inf if k == 3 else 1)])
            loss = sum(((p * slopes).sum() for p in params), torch.zeros(()))
            torch.autograd.backward(scaler.scale(loss))
            before = [p.detach().clone() for p in params]
            if unscaled or not ours:
                scaler.unscale_(optimizer)
            norm = _clip_and_step(by_value, ours, params, optimizer, scaler)
            assert all(torch.equal(p, q) == (k == 3) for p, q in zip(params, before))
            assert norm is None or bool(norm.isfinite()) == (k != 3)
            scaler.update()
            seen += [scaler.get_scale(), 0.0 if norm is None or k == 3 else float(norm)]
        assert seen[2 * 3] < seen[2 * 2]
        ways.append([*params, torch.tensor(seen)])
    for x, y in zip(*ways):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=0)


def test_clipping_of_scaled_gradients_that_is_refused() -> None:
    """A step that raises leaves nothing of the scaler's behind, and the next one has the scale once."""
    p = Parameter(torch.zeros(3))
    optimizer = lt.SGD([p], lr=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    torch.autograd.backward(scaler.scale((p * torch.tensor([0.25, 0.75, -3.0])).sum()))
    with pytest.raises(lockstep.ArgumentError, match="limit is 1e-50, want a float above 0"):
        lt.clip_grad_value_and_step(optimizer, 1e-50, scaler=scaler)
    assert p.tolist() == [0, 0, 0]
    lt.clip_grad_value_and_step(optimizer, 0.5, scaler=scaler)
    assert p.tolist() == [-0.25, -0.5, 0.5]
    scaler.update()
    torch.autograd.backward(scaler.scale(p.sum() * torch.inf))
    with pytest.raises(RuntimeError, match="the norm of the gradients is nan: nothing was stepped"):
        lt.clip_grad_norm_and_step(optimizer, 1, error_if_nonfinite=True, scaler=scaler)
    scaler.update()
    assert p.tolist() == [-0.25, -0.5, 0.5]
    assert scaler.get_scale() == 512


def test_clipping_by_a_scaler_that_is_switched_off() -> None:
    p = Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, 4.0])
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    assert lt.clip_grad_norm_and_step(lt.SGD([p], lr=1), 1, scaler=scaler) == 5
    torch.testing.assert_close(p.detach(), torch.tensor([-0.6, -0.8]))


def test_halves_are_not_unscaled() -> None:
    """As by torch's GradScaler: what the scale has kept from vanishing would vanish."""
    params = [Parameter(torch.ones(2)), Parameter(torch.ones(2, dtype=torch.float16))]
    optimizer: Any = lt.SGD(params, lr=1, fallback=True)
    for p in params:
        p.grad = torch.ones_like(p)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(torch.ones(()))
    with pytest.raises(lt.UnsupportedError, match="is torch.float16, want torch.float32 to unscale it"):
        scaler.step(optimizer)
    assert all(p.tolist() == [1, 1] == p.grad.tolist() for p in params)  # type: ignore[union-attr]
    del optimizer.grad_scale, optimizer.found_inf  # which GradScaler leaves behind
    optimizer.step()
    assert all(p.tolist() == [0, 0] for p in params)


# What is refused.


def bad_parameters() -> list[Any]:
    return [
        (lambda: torch.ones(2, dtype=torch.float64), "parameter 0 of group 0 is torch.float64, want torch.float32"),
        (lambda: torch.ones(2, dtype=torch.bfloat16), "is torch.bfloat16, want torch.float32"),
        (lambda: torch.ones(2, dtype=torch.complex64), "is torch.complex64, want torch.float32"),
        (lambda: torch.ones(2).to_sparse(), "is torch.sparse_coo, want a dense tensor"),
        (lambda: torch.ones(1).expand(3), "is expanded: several elements are one number"),
    ]


@pytest.mark.parametrize(("make", "message"), bad_parameters())
def test_refused_parameters(make: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(lt.UnsupportedError, match=message):
        lt.AdamW([Parameter(make())])
    optimizer = lt.AdamW([with_grad(1)])
    with pytest.raises(lt.UnsupportedError, match=message.replace("group 0", "group 1")):
        optimizer.add_param_group({"params": [Parameter(make())]})
    assert len(optimizer.param_groups) == 1
    optimizer.step()


def test_refused_once_it_changes() -> None:
    p = with_grad(1, 2)
    optimizer = lt.AdamW([p])
    optimizer.step()
    p.data, p.grad = p.data.double(), None
    with pytest.raises(lt.UnsupportedError, match="is torch.float64"):
        optimizer.step()
    p.data = p.data.float()
    p.grad = torch.ones(2)
    optimizer.step()
    assert optimizer.state[p]["step"] == 2


def test_refused_shapes() -> None:
    p = with_grad(1, 2)
    optimizer = lt.AdamW([p])
    optimizer.step()
    p.data = torch.ones(3)
    p.grad = torch.ones(3)
    with pytest.raises(
        lt.UnsupportedError, match=r"the state exp_avg .* has shape \(2,\), want that of its parameter, \(3,\)"
    ):
        optimizer.step()
    p.data, p.grad = torch.ones(2), torch.ones(2)
    optimizer.step()
    p.grad.data = torch.ones(1)
    with pytest.raises(
        lt.UnsupportedError, match=r"the gradient of .* has shape \(1,\), want that of its parameter, \(2,\)"
    ):
        optimizer.step()


def test_refused_gradients() -> None:
    p = Parameter(torch.ones(2))
    optimizer = lt.SGD([p])
    p.grad = torch.ones(2).to_sparse()
    with pytest.raises(lt.UnsupportedError, match="the gradient of parameter 0 of group 0 is torch.sparse_coo"):
        optimizer.step()
    assert torch.equal(p.detach(), torch.ones(2))


@pytest.mark.parametrize("steps", [0, 1])
def test_refused_shared_memory(steps: int) -> None:
    """Tied views are one number that two steps would change."""
    whole = torch.ones(10)
    p, q = Parameter(whole[:6]), Parameter(whole[4:])
    p.grad = torch.ones(6)
    optimizer = lt.AdamW([p, q] if not steps else [p])
    if steps:
        optimizer.step()
        optimizer.add_param_group({"params": [q]})
    with pytest.raises(ValueError, match="want a buffer apart from params of tensor"):
        optimizer.step()


def test_duplicates_are_refused() -> None:
    p = with_grad(1)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = lt.AdamW([p, p])
    with pytest.raises(ValueError, match="want a buffer apart from params of tensor"):
        optimizer.step()


@pytest.mark.parametrize(
    ("cls", "options", "error", "message"),
    [
        (lt.AdamW, {"capturable": True}, lt.UnsupportedError, "capturable is True, want False"),
        (lt.RMSprop, {"differentiable": True}, lt.UnsupportedError, "differentiable is True, want False"),
        (lt.SGD, {"momentum": 1.0}, lockstep.ArgumentError, "momentum is 1, want"),
        (lt.SGD, {"momentum": 0.5, "dampening": 2.0}, lockstep.ArgumentError, "dampening is 2, want"),
        (lt.RMSprop, {"alpha": 1.0}, lockstep.ArgumentError, "rho is 1, want"),
        (lt.AdamW, {"lr": float("inf")}, lockstep.ArgumentError, "lr is .*Inf"),
        (lt.Adam, {"fused": True, "foreach": True}, RuntimeError, "cannot be `True` together"),
    ],
)
def test_refused_options(cls: Any, options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        cls([with_grad(1)], **options)


def test_refused_in_the_middle() -> None:
    """A refused option stops every step until it is mended, and nothing is stepped."""
    p = with_grad(1, 2)
    optimizer = lt.AdamW([p])
    optimizer.step()
    before = p.detach().clone()
    optimizer.param_groups[0]["lr"] = -1.0
    for _ in range(2):
        with pytest.raises(ValueError, match="lr is -1, want"):
            optimizer.step()
    optimizer.param_groups[0].update(lr=1e-3, betas=(2.0, 0.5))
    with pytest.raises(ValueError, match="beta1 is 2, want"):
        optimizer.step()
    assert torch.equal(p.detach(), before)
    optimizer.param_groups[0]["betas"] = (0.9, 0.999)
    optimizer.step()
    assert optimizer.state[p]["step"] == 2


def test_flags_of_speed_change_nothing() -> None:
    ways = []
    for flags in ({}, {"foreach": True}, {"fused": True}, {"fused": False}):
        ways.append(runs.trained(lt.AdamW, flags, 5)[-1])
    for way in ways[1:]:
        assert all(map(torch.equal, way, ways[0]))


# What is left to torch.


def mixed(cls: Any, **options: Any) -> tuple[Optimizer, list[Tensor]]:
    torch.manual_seed(3)
    params = [
        torch.randn(4),
        torch.randn(3, dtype=torch.float64),
        torch.randn(2, dtype=torch.complex64),
        torch.randn(5),
    ]
    leaves: list[Tensor] = [Parameter(p) for p in params]
    return cls(leaves, lr=0.1, **options), leaves


def test_fallback_of_parameters() -> None:
    ways = []
    for cls, options in ((lt.AdamW, {"fallback": True}), (torch.optim.AdamW, {})):
        optimizer, params = mixed(cls, **options)
        for k in range(5):
            for p in params:
                p.grad = p.detach() * 0.5 + k
            optimizer.step()
        ways.append([*(p.detach() for p in params), *(s["step"] for s in optimizer.state.values())])
    for x, y in zip(*ways):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.5])
def test_fallback_of_gradients_and_options(momentum: float) -> None:
    """Sparse gradients now and then, and a momentum that is torch's alone."""
    ways = []
    for cls, options in ((lt.SGD, {"fallback": True}), (torch.optim.SGD, {})):
        p, q = Parameter(torch.ones(4)), Parameter(torch.ones(3))
        optimizer: Optimizer = cls([p, q], lr=0.1, momentum=momentum, **options)
        for k in range(6):
            p.grad = torch.tensor([1.0, 0, 2, 0]).to_sparse() if k % 2 and not momentum else torch.ones(4)
            q.grad = torch.full((3,), float(k))
            optimizer.step()
        ways.append((p.detach(), q.detach()))
    torch.testing.assert_close(*ways)


def test_fallback_of_differentiable() -> None:
    """A step that is a part of a graph is torch's."""
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    p = x.clone()
    p.retain_grad()
    p.grad = 2 * p.detach()
    lt.SGD([p], lr=0.25, differentiable=True, fallback=True).step()
    assert torch.equal(p.detach(), torch.tensor([0.5, 1.0]))
    assert p.grad_fn is not None


# Clipping.


@pytest.mark.parametrize("max_norm", [0.1, 1e-3, 1e3])
@pytest.mark.parametrize("fallback", [False, True])
def test_clipping(max_norm: float, fallback: bool) -> None:
    ways = []
    for ours in (True, False):
        params = [
            Parameter(torch.linspace(1, 2, 50)),
            Parameter(torch.ones(3, dtype=torch.float64 if fallback else torch.float32)),
        ]
        optimizer: Any = (
            lt.SGD(params, lr=1, momentum=0.9, fallback=True) if ours else torch.optim.SGD(params, lr=1, momentum=0.9)
        )
        norms = []
        for k in range(6):
            optimizer.zero_grad()
            sum((p * (k + 1)).square().sum() for p in params).backward()  # type: ignore[union-attr]
            before = params[0].grad.clone()  # type: ignore[union-attr]
            if ours:
                norms.append(lt.clip_grad_norm_and_step(optimizer, max_norm))
                assert torch.equal(params[0].grad, before)  # type: ignore[arg-type]
            else:
                norms.append(torch.nn.utils.clip_grad_norm_(params, max_norm))
                optimizer.step()
        ways.append((params, [n.double() for n in norms]))
    for x, y in zip(*ways):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_clipping_of_nonfinite(bad: float) -> None:
    ways = []
    for ours in (True, False):
        p, q = Parameter(torch.ones(3)), Parameter(torch.ones(2))
        optimizer: Any = (lt if ours else torch.optim).SGD([p, q], lr=1)
        p.grad, q.grad = torch.tensor([1, bad, 1]), torch.ones(2)
        if ours:
            with pytest.raises(RuntimeError, match="the norm of the gradients is .*: nothing was stepped"):
                lt.clip_grad_norm_and_step(optimizer, 1, error_if_nonfinite=True)
            norm = lt.clip_grad_norm_and_step(optimizer, 1)
        else:
            norm = torch.nn.utils.clip_grad_norm_([p, q], 1)
            optimizer.step()
        p.grad, q.grad = torch.ones(3), torch.ones(2)
        optimizer.step()
        ways.append((norm, p.detach(), q.detach()))
    torch.testing.assert_close(*ways, equal_nan=True)


@pytest.mark.parametrize("clip_value", [0.5, 0.1, torch.inf])
@pytest.mark.parametrize("fallback", [False, True])
def test_clipping_of_elements(clip_value: float, fallback: bool) -> None:
    ways = []
    for ours in (True, False):
        params = [Parameter(torch.zeros(4)), Parameter(torch.zeros(4).to(torch.float64 if fallback else torch.float32))]
        optimizer: Any = lt.SGD(params, lr=1, fallback=True) if ours else torch.optim.SGD(params, lr=1)
        for p in params:
            p.grad = torch.tensor([0.25, -0.75, -torch.inf, torch.nan], dtype=p.dtype)
        if ours:
            lt.clip_grad_value_and_step(optimizer, clip_value)
            assert params[0].grad.isinf().any()  # type: ignore[union-attr] # which is not written
        else:
            torch.nn.utils.clip_grad_value_(params, clip_value)
            optimizer.step()
        for p in params:  # and the next step does not clip
            p.grad = torch.full_like(p, 0.75)
        optimizer.step()
        ways.append(params)
    for mine, theirs in zip(*ways):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)


def test_limits_of_elements() -> None:
    p = Parameter(torch.zeros(3))
    p.grad = torch.ones(3)
    optimizer = lt.SGD([p], lr=1)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(lockstep.ArgumentError, match=f"clip_value is {bad}, want a number above 0"):
            lt.clip_grad_value_and_step(optimizer, bad)
    with pytest.raises(lockstep.ArgumentError, match="limit is 1e-50, want a float above 0"):
        lt.clip_grad_value_and_step(optimizer, 1e-50)
    assert p.tolist() == [0, 0, 0]


def test_clipping_without_gradients() -> None:
    assert lt.clip_grad_norm_and_step(lt.AdamW([Parameter(torch.ones(2))]), 1) == 0


def test_no_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = lt.AdamW(runs.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        runs.run(optimizer, range(3), lambda *_: scheduler.step())
