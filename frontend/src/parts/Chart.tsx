/** uPlot in a frame: colours of the theme, a legend that switches series, a line under the pointer, a span by dragging. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { JSX } from "preact";
import uPlot from "uplot";
import { clock, day } from "../format";
import { now } from "../live";
import { dark, zone } from "../settings";
import type { Column } from "../series";

export interface Line {
  label: string;
  tone: string;
  fill?: boolean;
  calm?: boolean;
  dash?: number[];
  value: (index: number) => string;
}
export interface Mark {
  at: number;
  label: string;
}
interface Props {
  title: string;
  times: number[];
  columns: Column[];
  lines: Line[];
  axis: (value: number) => string;
  marks?: Mark[];
  height?: number;
  step: number;
  steps?: number[]; // between the lines of the upright axis
  onSpan?: (from: number, until: number) => void;
}

const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
/** Opaque, so that what is drawn over another colour does not mix with it. */
const tint = (text: string, part: number): string => `color-mix(in srgb, ${text} ${part * 100}%, ${colour("surface")})`;

/** An axis line every so many seconds, at round hours of the zone. */
function axisTimes(zoneName: string) {
  return (_: uPlot, splits: number[]): string[] => {
    const span = splits[splits.length - 1] - splits[0];
    return splits.map((at) =>
      span > 3 * 86_400 ? day(at * 1000, zoneName) : clock(at * 1000, zoneName, at * 1000, span < 180),
    );
  };
}

function options(
  props: Props,
  width: number,
  marks: () => Mark[],
  hover: (index: number | null) => void,
  span: () => Props["onSpan"],
): uPlot.Options {
  const [ink, grid, font] = [colour("faint"), colour("line-soft"), `11px ${colour("sans")}`];
  const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, gap: 6 };
  return {
    width,
    height: props.height ?? 180,
    padding: [10, 18, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      points: { show: !props.lines[0]?.fill, size: 6 },
      drag: { x: Boolean(props.onSpan), y: false, setScale: false },
    },
    select: { show: true, left: 0, top: 0, width: 0, height: 0 },
    scales: { x: { time: true }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, values: axisTimes(zone.value), space: 70, size: 26 },
      {
        ...axis,
        values: (_, splits) => splits.map((value) => (value === 0 ? "0" : props.axis(value))),
        size: 58,
        space: 34,
        incrs: props.steps,
      },
    ],
    series: [
      {},
      ...props.lines.map((line): uPlot.Series => ({
        label: line.label,
        stroke: colour(line.tone),
        width: line.fill ? 1 : 1.6,
        dash: line.dash,
        points: { show: false },
        spanGaps: false,
        fill: line.fill ? tint(colour(line.tone), line.calm ? 0.42 : 0.85) : undefined,
        paths: line.fill ? uPlot.paths.stepped?.({ align: 1 }) : undefined,
      })),
    ],
    hooks: {
      setCursor: [(chart) => hover(chart.cursor.idx ?? null)],
      setSelect: [
        (chart) => {
          if (chart.select.width < 4) return;
          span()?.(chart.posToVal(chart.select.left, "x"), chart.posToVal(chart.select.left + chart.select.width, "x"));
          chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      draw: [(chart) => drawMarks(chart, marks())],
    },
  };
}

function drawMarks(chart: uPlot, marks: Mark[]): void {
  const { ctx, bbox } = chart;
  const ratio = uPlot.pxRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("accent");
  ctx.font = `${10 * ratio}px ${colour("sans")}`;
  ctx.lineWidth = ratio;
  for (const mark of marks) {
    const x = Math.round(chart.valToPos(mark.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const right = x + 90 * ratio > bbox.left + bbox.width;
    ctx.textAlign = right ? "right" : "left";
    ctx.fillText(mark.label, x + (right ? -5 : 5) * ratio, bbox.top + 9 * ratio);
  }
  ctx.restore();
}

export function Chart(props: Props): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [off, setOff] = useState<readonly string[]>([]);
  const [hovered, setHovered] = useState<number | null>(null);
  const labels = props.lines.map((line) => line.label).join(" ");
  // Later series lie below in a stack, so the tallest is drawn first.
  const order = props.lines.map((_, index) => index);
  if (props.lines[0]?.fill) order.reverse();
  const data = [props.times, ...order.map((index) => props.columns[index])] as uPlot.AlignedData;

  useEffect(() => {
    const box = frame.current;
    if (!box) return undefined;
    const drawn = { ...props, lines: order.map((index) => props.lines[index]) };
    const made = new uPlot(
      options(
        drawn,
        Math.max(box.clientWidth, 200),
        () => latest.current.marks ?? [],
        setHovered,
        () => latest.current.onSpan,
      ),
      data,
      box,
    );
    chart.current = made;
    const sizes = new ResizeObserver(() => {
      if (box.clientWidth) made.setSize({ width: box.clientWidth, height: props.height ?? 180 });
    });
    sizes.observe(box);
    return () => {
      sizes.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [labels, dark.value, zone.value, Boolean(props.onSpan)]);
  useEffect(() => chart.current?.setData(data), [props.times, props.columns]);
  useEffect(() => {
    order.forEach((index, place) =>
      chart.current?.setSeries(place + 1, { show: !off.includes(props.lines[index].label) }),
    );
  }, [off, labels, dark.value, zone.value]);

  const index = hovered ?? props.times.length - 1;
  const toggle = (label: string): void =>
    setOff(off.includes(label) ? off.filter((one) => one !== label) : [...off, label]);
  const stacked = Boolean(props.lines[0]?.fill);
  return (
    <figure class="chart" aria-label={props.title}>
      <figcaption>
        <h2>{props.title}</h2>
        <span class="faint number">
          {hovered !== null && props.times[index]
            ? clock(props.times[index] * 1000, zone.value, now.value, props.step < 60)
            : ""}
        </span>
        <ul class="legend">
          {props.lines.map((line) => (
            <li key={line.label}>
              <button
                type="button"
                aria-pressed={!off.includes(line.label)}
                disabled={stacked}
                onClick={() => toggle(line.label)}
              >
                <i class={`swatch tone-${line.tone}`} />
                {line.label} <b class="number">{line.value(index)}</b>
              </button>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={frame} class="plot" />
    </figure>
  );
}
