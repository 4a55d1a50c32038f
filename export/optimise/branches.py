"""Taking out the branches that are never taken, such as what a hub module does in training."""

from __future__ import annotations

from export.optimise.graph import Graph, source_of

__all__ = ["remove_dead_branches"]


def remove_dead_branches(graph: Graph) -> int:
    """Resolves every `Switch` whose condition is a constant, in place; grappler leaves those of inlined functions.

    Args:
        graph: with control flow lowered to `Switch` and `Merge`, without loops.

    Returns:
        How many were resolved.
    """
    dead: set[str] = set()  # nodes that never compute
    replaced: dict[str, str] = {}  # tensors, as `name:port`, by what they are; "" for those that never come
    resolved: dict[str, str] = {}  # nodes by what is waited for in their place
    for node in graph.ordered():
        data = [replaced.get(_key(tensor), tensor) for tensor in node.input if not tensor.startswith("^")]
        waited = [source_of(tensor) for tensor in node.input if tensor.startswith("^")]
        waits = [f"^{resolved.get(name, name)}" for name in waited if name not in dead]
        if node.op == "Merge":
            alive = [tensor for tensor in data if tensor and source_of(tensor) not in dead]
            if len(alive) == 1:
                replaced[f"{node.name}:0"] = alive[0]
                resolved[node.name] = source_of(alive[0])
            elif not alive:
                dead.add(node.name)
            continue
        is_dead = any(not tensor or source_of(tensor) in dead for tensor in data)
        if is_dead or len(data) + len(waits) < len(node.input):
            dead.add(node.name)
            continue
        del node.input[:]
        node.input.extend([*data, *waits])
        taken = _condition(graph, data[1]) if node.op == "Switch" else None
        if taken is not None:
            replaced[f"{node.name}:{int(taken)}"], replaced[f"{node.name}:{int(not taken)}"] = data[0], ""
            resolved[node.name] = source_of(data[0])
    graph.output_names = {key: source_of(replaced.get(f"{name}:0", name)) for key, name in graph.output_names.items()}
    graph.prune()
    return sum(1 for tensor in replaced.values() if not tensor)


def _condition(graph: Graph, tensor: str) -> bool | None:
    """The value of a condition that is a constant behind any number of identities."""
    name = source_of(tensor)
    while graph.nodes[name].op == "Identity":
        name = source_of(graph.nodes[name].input[0])
    value = graph.constant(name)
    return None if value is None else bool(value)


def _key(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"
