/** JSON whose integers keep all their digits: those that a double cannot hold become a BigInt, and are printed as they came. */

const BIG = /[0-9]{16}/;

/** Parse JSON; an integer beyond the safe range becomes a BigInt. Raises SyntaxError. */
export function parseJson(text: string): unknown {
  return BIG.test(text) ? new Parser(text).document() : JSON.parse(text);
}

/** Print JSON, with BigInts as integers. `indent` 0 gives one line. */
export function printJson(value: unknown, indent = 2, depth = 0): string {
  if (typeof value === "bigint") return value.toString();
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const list = Array.isArray(value);
  const parts = list
    ? value.map((one) => printJson(one, indent, depth + 1))
    : Object.entries(value)
        .filter(([, one]) => one !== undefined)
        .map(([name, one]) => `${JSON.stringify(name)}:${indent ? " " : ""}${printJson(one, indent, depth + 1)}`);
  const [open, close] = list ? "[]" : "{}";
  if (!parts.length || !indent) return open + parts.join(",") + close;
  const pad = " ".repeat(indent * (depth + 1));
  return `${open}\n${parts.map((one) => pad + one).join(",\n")}\n${" ".repeat(indent * depth)}${close}`;
}

/** Only for texts that hold a long number: strings are left to JSON.parse, so that only the structure is read here. */
class Parser {
  private at = 0;
  constructor(private readonly text: string) {}

  document(): unknown {
    const value = this.value();
    this.blank();
    if (this.at < this.text.length) this.fail();
    return value;
  }

  private fail(): never {
    throw new SyntaxError(`unexpected text in JSON at position ${this.at}`);
  }

  private blank(): void {
    while (" \t\r\n".includes(this.text[this.at] ?? "x")) this.at++;
  }

  private take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) this.fail();
    this.at += found[0].length;
    return found[0];
  }

  private value(): unknown {
    this.blank();
    const start = this.text[this.at];
    if (start === "{") return this.object();
    if (start === "[") return this.list();
    if (start === '"') return this.string();
    if (start === "t" || start === "f" || start === "n") return JSON.parse(this.take(/true|false|null/y));
    const number = this.take(/-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y);
    return /^-?\d+$/.test(number) && !Number.isSafeInteger(Number(number)) ? BigInt(number) : Number(number);
  }

  private string(): string {
    return JSON.parse(this.take(/"(?:[^"\\]|\\.)*"/y)) as string;
  }

  private list(): unknown[] {
    const found: unknown[] = [];
    this.at++;
    for (let first = true; ; first = false) {
      this.blank();
      if (first && this.text[this.at] === "]") break;
      found.push(this.value());
      this.blank();
      if (this.text[this.at] !== ",") break;
      this.at++;
    }
    this.take(/\]/y);
    return found;
  }

  private object(): Record<string, unknown> {
    const found: [string, unknown][] = [];
    this.at++;
    for (let first = true; ; first = false) {
      this.blank();
      if (first && this.text[this.at] === "}") break;
      const name = this.string();
      this.blank();
      this.take(/:/y);
      found.push([name, this.value()]);
      this.blank();
      if (this.text[this.at] !== ",") break;
      this.at++;
    }
    this.take(/\}/y);
    return Object.fromEntries(found); // makes "__proto__" an ordinary name, as JSON.parse does
  }
}
