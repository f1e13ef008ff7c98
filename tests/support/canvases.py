"""What a page has drawn on its canvases, which hold pixels and no element that could be asked.

This module owns a script that notes lines and texts, until the canvas is cleared. It draws nothing
itself, and asserts nothing.
"""

RECORDER = """
const points = new WeakMap();
const { lineTo } = Path2D.prototype;
Path2D.prototype.lineTo = function (x, y) {
  if (!points.has(this)) points.set(this, []);
  points.get(this).push([x, y]);
  lineTo.call(this, x, y);
};
const { clearRect, fillText, stroke } = CanvasRenderingContext2D.prototype;
const note = (canvas, mark) => (canvas.marks ??= []).push(mark);
Object.assign(CanvasRenderingContext2D.prototype, {
  clearRect(...box) {
    this.canvas.marks = [];
    clearRect.apply(this, box);
  },
  fillText(...text) {
    note(this.canvas, { kind: "text", text: text[0] });
    fillText.apply(this, text);
  },
  stroke(...path) {
    const kind = path.length > 0 ? "line" : "rule";
    note(this.canvas, { kind, colour: this.strokeStyle, points: points.get(path[0]) ?? [] });
    stroke.apply(this, path);
  },
});
"""
"""Runs before a page does. A mark is a `line` of points, a `rule` of an axis, or a `text`."""


def marks_of(plot: str) -> str:
    """Return the expression of what is drawn of one plot of the live page."""
    return f"(document.querySelector('[data-plot={plot}] canvas')?.marks ?? [])"


def lines_of(plot: str) -> str:
    """Return the expression of its lines, in the order in which they were drawn."""
    return f"{marks_of(plot)}.filter(({{kind, points}}) => kind === 'line' && points.length > 0)"
