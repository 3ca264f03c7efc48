/** Numbers and times in words that are short, and as long as their neighbours in a column. */

const whole = new Intl.NumberFormat("en");

export const count = (n: number): string => whole.format(Math.round(n));

/** 1,204 stays; from 10,000 on three digits and a unit: 12.3k, 4.56M. */
export function compact(n: number): string {
  if (n < 10_000) return count(n);
  const [unit, by] = n < 999_500 ? ["k", 1e3] : n < 999_500_000 ? ["M", 1e6] : ["G", 1e9];
  return Number((n / by).toPrecision(3)) + unit;
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;

/** Seconds in two units at most: 0.8 ms, 850 ms, 3.1 s, 42 s, 2m 05s, 3h 12m, 4d 2h. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const s = Math.abs(seconds);
  if (s === 0) return "0 s";
  if (s < 0.01) return `${Number((s * 1000).toPrecision(2))} ms`;
  if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 59.5) return `${Math.round(s)} s`;
  const two = (n: number): string => String(n).padStart(2, "0");
  if (s < 3599.5) {
    const t = Math.round(s);
    return `${Math.floor(t / 60)}m ${two(t % 60)}s`;
  }
  if (s < 86_370) {
    const t = Math.round(s / 60);
    return `${Math.floor(t / 60)}h ${two(t % 60)}m`;
  }
  const t = Math.round(s / 3600);
  return `${Math.floor(t / 24)}d ${t % 24}h`;
}

/** A length without parts that are nothing, for what somebody chose: 2h, 5m, 5 s. */
export const length = (seconds: number): string => duration(seconds).replace(/\.0(?= )| 0+[smh]$/, "");

/** Jobs per second; below one in ten seconds per minute, below that per hour. */
export function rate(perSecond: number): string {
  if (perSecond <= 0) return "0 /s";
  const short = (n: number): string => (n >= 9.95 ? compact(n) : Number(n.toPrecision(2)).toString());
  if (perSecond >= 0.095) return `${short(perSecond)} /s`;
  if (perSecond * 60 >= 0.095) return `${short(perSecond * 60)} /min`;
  return `${short(perSecond * 3600)} /h`;
}

/** A share of 0 to 1 in per cent. What is not nothing is never shown as 0 %, what is not all never as 100 %. */
export function share(part: number): string {
  const percent = part * 100;
  if (percent <= 0) return "0 %";
  if (percent < 0.1) return "<0.1 %";
  if (percent >= 99.95 && percent < 100) return ">99.9 %";
  return percent < 9.95 ? `${percent.toFixed(1)} %` : `${Math.round(percent)} %`;
}

export function bytes(n: number | null): string {
  if (n === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return `${unit && n < 99.5 ? Number(n.toPrecision(2)) : Math.round(n)} ${units[unit]}`;
}

/** Memory, in units of 1,024 as limits of it are set: 184 MiB, 1.2 GiB. */
export function memory(n: number | null): string {
  if (n === null) return "–";
  const mib = n / MIB;
  if (mib < 999.5) return `${Math.round(mib)} MiB`;
  const gib = mib / 1024;
  return `${gib < 9.95 ? gib.toFixed(1) : Math.round(gib)} GiB`;
}
export const MIB = 1 << 20;

/** How long ago, or how soon, a time is: "now", "12 s ago", "in 3m 10s". */
export function ago(at: number, now: number): string {
  const seconds = (now - at) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  const length = duration(Math.abs(seconds) < 60 ? Math.round(Math.abs(seconds)) : Math.abs(seconds));
  const short = length.replace(/\.0 s$/, " s");
  return seconds > 0 ? `${short} ago` : `in ${short}`;
}

const DAY = { day: "numeric", month: "short" } as const;
const MINUTE = { hour: "2-digit", minute: "2-digit" } as const;
const SECOND = { ...MINUTE, second: "2-digit" } as const;
const EXACT = { ...SECOND, year: "numeric", month: "2-digit", day: "2-digit", fractionalSecondDigits: 3 } as const;
const formats = new Map<object, Map<string, Intl.DateTimeFormat>>();

/** A time in the words of one of the shapes above. Formats are kept: making one costs more than a hundred uses. */
function told(at: number, shape: Intl.DateTimeFormatOptions, zone: string, language = "en-GB"): string {
  const ofShape = formats.get(shape) ?? new Map<string, Intl.DateTimeFormat>();
  const format = ofShape.get(zone) ?? new Intl.DateTimeFormat(language, { ...shape, timeZone: zone });
  formats.set(shape, ofShape.set(zone, format));
  return format.format(at);
}

/** The day on the calendar of `zone`: 21 Nov. */
export const day = (at: number, zone: string): string => told(at, DAY, zone);

/** A time on the clock of `zone`: the hour, with the day when it is not today's. */
export function clock(at: number, zone: string, now: number, seconds = true): string {
  const time = told(at, seconds ? SECOND : MINUTE, zone);
  const today = day(now, zone);
  return day(at, zone) === today ? time : `${day(at, zone)} ${time}`;
}

/** A time in full, for a tooltip: 2026-11-21 20:13:19.123 and the zone. */
export const exact = (at: number, zone: string): string =>
  `${told(at, EXACT, zone, "sv-SE").replace(",", ".")} ${zone}`;

/** The end of a job's id, which is its random part; the beginning is the time and alike for neighbours. */
export const shortId = (id: string): string => id.slice(-8);

/** A dotted name in two: the module, and what distinguishes. */
export function splitName(name: string): [string, string] {
  const at = name.lastIndexOf(".");
  return at < 0 ? ["", name] : [name.slice(0, at + 1), name.slice(at + 1)];
}

/** "3m", "1h", "24h", "7d" in seconds; null when it is no length of time. */
export function seconds(text: string): number | null {
  const found = /^(\d+(?:\.\d+)?)(s|m|h|d|w)$/.exec(text);
  if (!found) return null;
  return Number(found[1]) * { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }[found[2] as "s" | "m" | "h" | "d" | "w"];
}
