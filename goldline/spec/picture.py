"""Draws the compiled pipeline: tasks as boxes in layers from left to right, a band for each flow.

What only orders or chooses (exit handlers, conditions, loops) is not drawn: its tasks stand where it stood. A
sub-pipeline is a band, laid out by itself, and stands in its parent as one large box. Layers come by longest path, an
edge over several layers runs through slots of its own, and edges with the same ends share one upright track.

python -m goldline.spec.picture     write docs/pipeline.svg
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from goldline.project import root
from goldline.spec.compiled import load

PICTURE = root() / "docs" / "pipeline.svg"

type Json = Mapping[str, Any]


def picture(spec: Json) -> str:
    """The pipeline as an SVG; the same bytes for the same spec."""
    graph = _Reader(spec).graph()
    return _document(spec["pipelineInfo"]["name"], graph, _lay_out(graph, _box_width(graph)))


def write(spec: Json, path: Path = PICTURE) -> bool:
    """Write the picture; whether that changed the file."""
    text = picture(spec)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


# Reading: from the spec's nested dags to nodes and edges.


@dataclass(frozen=True)
class _Node:
    """A task or, with a graph inside, a sub-pipeline."""

    path: str  # of the task in the spec: exit-handler-1/sales/condition-1/stg-sales
    dataset: str = ""  # of the table that it makes
    about: str = ""
    off: bool = False  # its condition does not hold by default
    inside: "_Graph | None" = None

    @property
    def label(self) -> str:
        """Its name as pipeline.py spells it."""
        return self.path.rpartition("/")[2].replace("-", "_")


@dataclass
class _Graph:
    nodes: dict[str, _Node] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)

    def tasks(self) -> Iterator[_Node]:
        """The container tasks, those of sub-pipelines too."""
        for node in self.nodes.values():
            if node.inside is None:
                yield node
            else:
                yield from node.inside.tasks()

    def before(self) -> dict[str, list[str]]:
        """What each node waits for."""
        return {node: sorted(a for a, b in self.edges if b == node) for node in sorted(self.nodes)}


@dataclass(frozen=True)
class _Input:
    """What is known of an input: the constant that it is, or the nodes of the same graph that make it."""

    constant: object = None
    makers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Place:
    """Where in the spec a dag stands, and what holds for all that is in it."""

    path: str = ""
    inputs: Mapping[str, _Input] = field(default_factory=dict)
    waits_for: frozenset[str] = frozenset()
    off: bool = False


# Dags that kfp's compiler makes; the others are sub-pipelines that someone wrote and named.
_UNDRAWN = re.compile(r"comp-(exit-handler|condition|condition-branches|for-loop)-\d+(-\d+)?")
_DATASETS = ("bronze", "silver", "gold")
_COMPARISON = re.compile(r"(!\()?inputs\.parameter_values\['([^']+)'\] == (true|false)")


class _Reader:
    def __init__(self, spec: Json) -> None:
        self.root = spec["root"]
        self.components: Json = spec["components"]

    def graph(self) -> _Graph:
        parameters = self.root.get("inputDefinitions", {}).get("parameters", {})
        defaults = {name: _Input(declared.get("defaultValue")) for name, declared in parameters.items()}
        graph = _Graph()
        self._read(self.root, _Place(inputs=defaults), graph)
        return graph

    def _read(self, component: Json, place: _Place, graph: _Graph) -> frozenset[str]:
        """Put a dag's tasks into the graph; the nodes with which it ends."""
        tasks: Json = component["dag"]["tasks"]
        upstream = {name: _upstream(tasks[name]) for name in sorted(tasks)}
        ends: dict[str, frozenset[str]] = {}
        for name in TopologicalSorter(upstream).static_order():
            waits_for = frozenset[str]().union(*(ends[u] for u in upstream[name])) or place.waits_for
            ends[name] = self._add(name, tasks[name], replace(place, waits_for=waits_for), ends, graph)
        last = set(tasks).difference(*upstream.values())
        return frozenset[str]().union(*(ends[name] for name in last))

    def _add(
        self, name: str, task: Json, place: _Place, ends: Mapping[str, frozenset[str]], graph: _Graph
    ) -> frozenset[str]:
        component = self.components[task["componentRef"]["name"]]
        inputs = {key: _input(given, place.inputs, ends) for key, given in _given(task).items()}
        inner = _Place(f"{place.path}/{name}".strip("/"), inputs, place.waits_for, place.off or _is_off(task, inputs))
        if "dag" in component and _UNDRAWN.fullmatch(task["componentRef"]["name"]):
            return self._read(component, inner, graph) or place.waits_for
        node = self._band(component, inner) if "dag" in component else _leaf(inner)
        graph.nodes[node.path] = node
        makers = place.waits_for.union(*(i.makers for i in inputs.values()))
        graph.edges |= {(maker, node.path) for maker in makers}
        return frozenset({node.path})

    def _band(self, component: Json, place: _Place) -> _Node:
        inside = _Graph()
        known = {key: replace(given, makers=frozenset()) for key, given in place.inputs.items()}
        self._read(component, replace(place, inputs=known, waits_for=frozenset()), inside)
        return _Node(place.path, off=all(task.off for task in inside.tasks()), inside=inside)


def _given(task: Json) -> dict[str, Json]:
    inputs = task.get("inputs", {})
    return {**inputs.get("parameters", {}), **inputs.get("artifacts", {})}


def _producer(given: Json) -> str | None:
    made = given.get("taskOutputParameter") or given.get("taskOutputArtifact") or {}
    return made.get("producerTask")


def _upstream(task: Json) -> list[str]:
    producers = {_producer(given) for given in _given(task).values()} - {None}
    return sorted({*task.get("dependentTasks", []), *(p for p in producers if p)})


def _input(given: Json, outer: Mapping[str, _Input], ends: Mapping[str, frozenset[str]]) -> _Input:
    if producer := _producer(given):
        return _Input(makers=ends[producer])
    passed_on = given.get("componentInputParameter") or given.get("componentInputArtifact")
    return outer.get(passed_on, _Input()) if passed_on else _Input(given.get("runtimeValue", {}).get("constant"))


def _is_off(task: Json, inputs: Mapping[str, _Input]) -> bool:
    """Whether the parameters' defaults tell that a condition does not hold: one of what kfp joins with && is false."""
    condition = task.get("triggerPolicy", {}).get("condition", "")
    for negated, name, wanted in _COMPARISON.findall(condition):
        value = inputs.get(name, _Input()).constant
        if isinstance(value, bool) and (value == (wanted == "true")) == bool(negated):
            return True
    return False


def _leaf(place: _Place) -> _Node:
    constant = place.inputs.get("contract", _Input()).constant
    contract = json.loads(constant) if constant and isinstance(constant, str) else {}
    table = contract.get("table") or contract.get("source") or ""
    about = ": ".join(filter(None, [table, contract.get("description")]))
    dataset = table.partition(".")[0]
    return _Node(place.path, dataset if dataset in _DATASETS else "", about, place.off)


# Laying out: a graph's nodes get places, its edges get ways. A grid makes neighbours line up.

_GRID = 11
_BOX, _SPACE = 36, 8  # a box, and the least space to the next
_THREAD = 2 * _GRID  # what an edge takes that passes a layer
_GAP = 26  # between two layers, where the tracks are
_HEAD = 26  # of a band, with its name
_PAD = 10  # _HEAD + _PAD + _SPACE are a multiple of the grid, so that bands lie evenly
_PORT = 8  # between two edges that arrive at one box
_ARROW = 8
_SWEEPS = 12
_CHARACTER, _LINE, _LONGEST = 6.3, 11.5, 12


@dataclass(frozen=True)
class _Box:
    node: _Node
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class _Way:
    """An edge, by the points that it passes."""

    ends: tuple[str, str]
    off: bool
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class _Layout:
    width: float
    height: float
    boxes: list[_Box] = field(default_factory=list)
    ways: list[_Way] = field(default_factory=list)

    def shifted(self, x: float, y: float) -> "_Layout":
        """The same elsewhere."""
        boxes = [replace(b, x=b.x + x, y=b.y + y) for b in self.boxes]
        ways = [replace(w, points=[(px + x, py + y) for px, py in w.points]) for w in self.ways]
        return _Layout(self.width, self.height, boxes, ways)


def _box_width(graph: _Graph) -> float:
    """One width for all boxes, so that layers line up from band to band."""
    return max(_text_width(line) for task in graph.tasks() for line in _lines(task.label)) + 8


def _text_width(text: str) -> int:
    return math.ceil(len(text) * _CHARACTER)


def _lines(label: str) -> list[str]:
    """A name in lines that are short enough, broken after underscores."""
    lines = [""]
    for part in re.findall(r"[^_]*_?", label):
        if lines[-1] and len(lines[-1] + part) > _LONGEST:
            lines.append("")
        lines[-1] += part
    return lines


class _Layered:
    """A graph in layers. A slot is a node, or a thread: the place in a layer that an edge takes as it passes."""

    def __init__(self, graph: _Graph) -> None:
        self.layer = _layers(graph)
        self.slots: list[list[str]] = [[] for _ in range(max(self.layer.values()) + 1)]
        for node in sorted(graph.nodes):
            self.slots[self.layer[node]].append(node)
        self.chains = {edge: self._chain(*edge) for edge in sorted(graph.edges)}
        self.next: dict[str, set[str]] = defaultdict(set)
        self.previous: dict[str, set[str]] = defaultdict(set)
        for chain in self.chains.values():
            for a, b in pairwise(chain):
                self.next[a].add(b)
                self.previous[b].add(a)
        self._order()

    def _chain(self, source: str, target: str) -> list[str]:
        """An edge's slots; the edges of one source share their threads."""
        chain = [source]
        for layer in range(self.layer[source] + 1, self.layer[target]):
            thread = f"{source}>{layer}"
            if thread not in self.slots[layer]:
                self.slots[layer].append(thread)
            chain.append(thread)
        return [*chain, target]

    def _order(self) -> None:
        """Order each layer by its neighbours' mean place, to and fro, and keep what crosses least."""
        best, fewest = [list(slots) for slots in self.slots], self._crossings()
        for sweep in range(8):
            forward = sweep % 2 == 0
            for layer in range(len(self.slots))[:: 1 if forward else -1]:
                self._sort(layer, self.previous if forward else self.next)
            if (crossings := self._crossings()) < fewest:
                best, fewest = [list(slots) for slots in self.slots], crossings
        self.slots = best

    def _sort(self, layer: int, neighbours: Mapping[str, set[str]]) -> None:
        place = {slot: i for slots in self.slots for i, slot in enumerate(slots)}
        here = {slot: [place[n] for n in neighbours.get(slot, ())] or [place[slot]] for slot in self.slots[layer]}
        self.slots[layer].sort(key=lambda slot: fmean(here[slot]))

    def _crossings(self) -> int:
        place = {slot: i for slots in self.slots for i, slot in enumerate(slots)}
        crossings = 0
        for slots in self.slots:
            links = [(place[a], place[b]) for a in slots for b in self.next.get(a, ())]
            crossings += sum(a < c and b > d for a, b in links for c, d in links)
        return crossings


def _layers(graph: _Graph) -> dict[str, int]:
    """The longest way to each node."""
    before = graph.before()
    layer: dict[str, int] = {}
    for node in TopologicalSorter(before).static_order():
        layer[node] = max((layer[b] + 1 for b in before[node]), default=0)
    return layer


def _lay_out(graph: _Graph, box_width: float) -> _Layout:
    layered = _Layered(graph)
    bands = {node.path: _band_layout(node.inside, box_width) for node in graph.nodes.values() if node.inside}
    height = {path: bands[path].height if path in bands else _BOX for path in graph.nodes}
    rooms = {slot: _room(height.get(slot)) for slots in layered.slots for slot in slots}
    middle = _middles(layered, rooms)
    columns = _columns([[bands[s].width if s in bands else box_width for s in slots] for slots in layered.slots])
    boxes = {}
    for path, node in sorted(graph.nodes.items()):
        left, right = columns[layered.layer[path]]
        width = right - left if path in bands else box_width
        boxes[path] = _Box(node, left, middle[path] - height[path] // 2, width, height[path])
    inner = [band.shifted(boxes[path].x, boxes[path].y) for path, band in sorted(bands.items())]
    return _Layout(
        columns[-1][1],
        max(middle[slot] + rooms[slot] / 2 for slot in rooms),
        [*boxes.values(), *(box for band in inner for box in band.boxes)],
        [*_ways(layered, columns, middle, boxes), *(way for band in inner for way in band.ways)],
    )


def _band_layout(inside: _Graph, box_width: float) -> _Layout:
    layout = _lay_out(inside, box_width).shifted(_PAD, _HEAD)
    return replace(layout, width=layout.width + 2 * _PAD, height=layout.height + _HEAD + _PAD)


def _room(height: float | None) -> float:
    """What a slot takes of its layer, with the space to the next; a thread has no height."""
    return _THREAD if height is None else math.ceil((height + _SPACE) / _THREAD) * _THREAD


def _columns(widths: list[list[float]]) -> list[tuple[float, float]]:
    """From where to where each layer goes."""
    columns: list[tuple[float, float]] = []
    for layer in widths:
        left = columns[-1][1] + _GAP if columns else 0
        columns.append((left, left + max(layer)))
    return columns


def _middles(layered: _Layered, room: Mapping[str, float]) -> dict[str, float]:
    """How far down the middle of each slot is: near its neighbours', in the layer's order, and with its room."""
    middle = dict.fromkeys(room, 0.0)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        neighbours = layered.previous if forward else layered.next
        for slots in layered.slots[:: 1 if forward else -1]:
            wanted = [fmean([middle[n] for n in neighbours[slot]] or [middle[slot]]) for slot in slots]
            middle.update(zip(slots, _spread(wanted, [room[slot] for slot in slots]), strict=True))
    top = min(middle[slot] - room[slot] / 2 for slot in middle)
    return {slot: down - top for slot, down in middle.items()}


def _spread(wanted: list[float], room: list[float]) -> list[float]:
    """The places nearest to the wanted ones at which none takes another's room (isotonic regression), on the grid."""
    offsets = [sum(room[:i]) + room[i] / 2 for i in range(len(room))]
    blocks: list[list[float]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        blocks.append([want - offset])
        while len(blocks) > 1 and fmean(blocks[-2]) >= fmean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    shifts = [round(fmean(block) / _GRID) * _GRID for block in blocks for _ in block]
    return [shift + offset for shift, offset in zip(shifts, offsets, strict=True)]


@dataclass
class _Net:
    """The links between two layers that lead to the same slots: they share one upright track."""

    leave: Mapping[str, float]  # how far down it leaves its sources, and arrives at its targets
    arrive: dict[str, float]
    track: float = 0  # how far right

    @property
    def span(self) -> tuple[float, float]:
        """From where to where its track goes."""
        heights = [*self.leave.values(), *self.arrive.values()]
        return min(heights), max(heights)

    def clashes(self, right: "_Net") -> int:
        """How often the two meet with this one's track left of the other's; on one line they cannot be told apart."""
        (top, bottom), (low, high) = self.span, right.span
        arrive, leave = self.arrive.values(), right.leave.values()
        meet = sum(low <= y <= high for y in arrive) + sum(top <= y <= bottom for y in leave)
        return meet + 10 * len({*arrive} & {*leave})


def _nets(slots: Sequence[str], layered: _Layered, middle: Mapping[str, float]) -> list[_Net]:
    """The nets that leave a layer, upper ones first, with the ports at which they arrive."""
    sources: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for slot in slots:
        sources[tuple(sorted(layered.next[slot]))].append(slot)
    nets = [_Net({s: middle[s] for s in same}, dict.fromkeys(targets, 0.0)) for targets, same in sources.items()]
    nets.sort(key=lambda net: fmean(net.leave.values()))
    for target in sorted({t for targets in sources for t in targets}):
        arriving = [net for net in nets if target in net.arrive]
        straight = [i for i, net in enumerate(arriving) if middle[target] in net.leave.values()]
        central = straight[0] if straight else (len(arriving) - 1) / 2
        for i, net in enumerate(arriving):
            net.arrive[target] = middle[target] + (i - central) * _PORT
    return nets


def _set_tracks(nets: Sequence[_Net], left: float) -> None:
    """Give tracks to those nets that are no straight line, in an order in which they meet little."""
    bent = [net for net in nets if net.span[0] < net.span[1]]
    for end in range(len(bent), 1, -1):
        for i in range(end - 1):
            if bent[i + 1].clashes(bent[i]) < bent[i].clashes(bent[i + 1]):
                bent[i], bent[i + 1] = bent[i + 1], bent[i]
    for i, net in enumerate(bent, 1):
        net.track = left + i * (_GAP - _ARROW) // (len(bent) + 1)


def _ways(
    layered: _Layered,
    columns: Sequence[tuple[float, float]],
    middle: Mapping[str, float],
    boxes: Mapping[str, _Box],
) -> Iterator[_Way]:
    """Each edge's way, from track to track."""
    leaving: dict[str, _Net] = {}
    for slots, (_, right) in zip(layered.slots, columns, strict=True):
        nets = _nets([slot for slot in slots if layered.next[slot]], layered, middle)
        _set_tracks(nets, right)
        leaving |= {slot: net for net in nets for slot in net.leave}
    for (source, target), chain in layered.chains.items():
        points = [(boxes[source].x + boxes[source].width, middle[source])]
        for here, there in pairwise(chain):
            net = leaving[here]
            points += [(net.track, middle[here]), (net.track, net.arrive[there])] if net.track else []
        points.append((boxes[target].x, leaving[chain[-2]].arrive[target]))
        yield _Way((source, target), boxes[source].node.off or boxes[target].node.off, points)


# Drawing.

_MARGIN = 14
_LEGEND = 30
_MAX_WIDTH = 1100
_CORNER = 5
_STYLE = """
text{font:11px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1f2328;text-anchor:middle}
text.name{font-weight:600;font-size:12px;text-anchor:start}
text.key{text-anchor:start;fill:#59636e}
.page{fill:#fff}
.band{fill:#f6f8fa;stroke:#d1d9e0}
.task{fill:#fff;stroke:#818b98}
.bronze{fill:#f5ddc8;stroke:#a8652d}
.silver{fill:#dfe5ec;stroke:#7d8894}
.gold{fill:#fbe9a8;stroke:#b58a00}
.off{stroke-dasharray:4 3}
.way{fill:none;stroke:#818b98}
.head{fill:#818b98}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}
text.key{fill:#9198a1}
.page{fill:#0d1117}
.band{fill:#151b23;stroke:#3d444d}
.task{fill:#0d1117;stroke:#7d8590}
.bronze{fill:#5b3920;stroke:#c98b55}
.silver{fill:#464f5a;stroke:#a9b4c0}
.gold{fill:#5e4b06;stroke:#d8b338}
.way{stroke:#7d8590}
.head{fill:#7d8590}
}
"""
_HEADS = (
    '<defs><marker id="head" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
    '<path class="head" d="M0 0L6 3L0 6z"/></marker></defs>'
)


def _document(name: str, graph: _Graph, layout: _Layout) -> str:
    tasks = list(graph.tasks())
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN + _LEGEND
    scale = min(1, _MAX_WIDTH / width)
    title = f"The pipeline {name}: {len(tasks)} tasks, from left to right"
    moved = layout.shifted(_MARGIN + 0.5, _MARGIN + 0.5)  # upon the pixels, so that lines are sharp
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width * scale)}" height="{_n(height * scale)}" '
        f'viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label={quoteattr(title)}>',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        _HEADS,
        f'<rect class="page" width="{_n(width)}" height="{_n(height)}" rx="8"/>',
        *(_draw_band(box) for box in moved.boxes if box.node.inside),
        *(_draw_way(way) for way in sorted(moved.ways, key=lambda way: not way.off)),
        *(_draw_task(box) for box in moved.boxes if not box.node.inside),
        *_draw_legend(tasks, height - _MARGIN - _LEGEND / 2),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _n(number: float) -> str:
    return f"{round(number, 1):g}"


def _rect(classes: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{classes}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="5"/>'


def _text(x: float, y: float, text: str, classes: str = "") -> str:
    named = f' class="{classes}"' if classes else ""
    return f'<text{named} x="{_n(x)}" y="{_n(y)}">{escape(text)}</text>'


def _classes(node: _Node) -> str:
    return " ".join(filter(None, ["band" if node.inside else "task", node.dataset, "off" if node.off else ""]))


def _draw_band(box: _Box) -> str:
    frame = _rect(_classes(box.node), box.x, box.y, box.width, box.height)
    name = _text(box.x + _PAD, box.y + 16, box.node.label, "name")
    return f"<g data-band={quoteattr(box.node.path)}>{frame}{name}</g>"


def _draw_task(box: _Box) -> str:
    lines = _lines(box.node.label)
    first = box.y + box.height / 2 - (len(lines) - 1) * _LINE / 2 + 4
    about = f"<title>{escape(box.node.about)}</title>" if box.node.about else ""
    frame = _rect(_classes(box.node), box.x, box.y, box.width, box.height)
    label = "".join(_text(box.x + box.width / 2, first + i * _LINE, line) for i, line in enumerate(lines))
    return f"<g data-task={quoteattr(box.node.path)}>{about}{frame}{label}</g>"


def _draw_way(way: _Way) -> str:
    source, target = map(quoteattr, way.ends)
    classes = "way off" if way.off else "way"
    d = _rounded(way.points)
    return f'<path class="{classes}" data-from={source} data-to={target} d="{d}" marker-end="url(#head)"/>'


def _rounded(points: Sequence[tuple[float, float]]) -> str:
    """A path of level and upright lines with round corners."""
    corners = [b for a, b, c in zip(points, points[1:], points[2:], strict=False) if not _on_line(a, b, c)]
    stops = [points[0], *corners, points[-1]]
    d = f"M{_point(stops[0])}"
    for a, b, c in zip(stops, stops[1:], stops[2:], strict=False):
        d += f"L{_point(_toward(b, a))}Q{_point(b)} {_point(_toward(b, c))}"
    return d + f"L{_point(stops[-1])}"


def _on_line(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return a[0] == b[0] == c[0] or a[1] == b[1] == c[1]


def _toward(corner: tuple[float, float], stop: tuple[float, float]) -> tuple[float, float]:
    """From the corner a little on the way to the next stop."""
    length = math.dist(corner, stop)
    share = min(_CORNER / length, 0.5)
    return corner[0] + (stop[0] - corner[0]) * share, corner[1] + (stop[1] - corner[1]) * share


def _point(point: tuple[float, float]) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _draw_legend(tasks: Sequence[_Node], y: float) -> Iterator[str]:
    found = {task.dataset for task in tasks}
    keys: dict[str, str] = {f"task {name}": name for name in _DATASETS if name in found}
    keys |= {"task": "step"} if "" in found else {}
    keys |= {"task off": "off by default"} if any(task.off for task in tasks) else {}
    x: float = _MARGIN
    for classes, text in keys.items():
        yield _rect(classes, x, y, 18, 12) + _text(x + 24, y + 10, text, "key")
        x += 24 + _text_width(text) + 18


if __name__ == "__main__":
    write(load())
