/** Log lines that follow. Only the lines in sight are in the page, so that a hundred thousand cost no more than forty. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { clock, count, plural } from "../format";
import { now } from "../live";
import { zone } from "../settings";
import type { LogLine } from "../types";
import { Button, CopyButton } from "./basic";

const TALL = 20; // px, as .log-line in the style sheet
const AROUND = 12;

const ANSI = /\u001b\[[0-9;]*[A-Za-z]/g;
const plain = (text: string): string => text.replace(ANSI, "");

export function Logs({
  lines,
  running,
  empty,
}: {
  lines: readonly LogLine[];
  running: boolean;
  empty: string;
}): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [follow, setFollow] = useState(true);
  const [word, setWord] = useState("");
  const [bad, setBad] = useState(false);
  const wanted = word.toLowerCase();
  const shown =
    !bad && !wanted
      ? lines
      : lines.filter(
          (line) =>
            (!bad || /warn|error|critical/i.test(line.level)) &&
            (!wanted || line.message.toLowerCase().includes(wanted)),
        );
  useLayoutEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown.length, follow]);
  useEffect(() => {
    setTop(box.current?.scrollTop ?? 0);
  }, [shown.length]);
  const scroll = (): void => {
    const element = box.current;
    if (!element) return;
    setTop(element.scrollTop);
    // A person who scrolls up wants to read; at the end they want to follow again.
    setFollow(element.scrollTop + element.clientHeight >= element.scrollHeight - TALL);
  };
  const first = Math.max(0, Math.floor(top / TALL) - AROUND);
  const inSight = shown.slice(first, first + Math.ceil((box.current?.clientHeight ?? 360) / TALL) + 2 * AROUND);
  if (!lines.length) return <p class="quietly">{empty}</p>;
  return (
    <div class="logs">
      <div class="logs-bar">
        <input
          type="search"
          placeholder="Find in the log"
          aria-label="Find in the log"
          value={word}
          onInput={(event) => setWord(event.currentTarget.value)}
        />
        <Button kind="quiet" pressed={bad} onClick={() => setBad(!bad)}>
          warnings and errors
        </Button>
        <span class="faint number">
          {shown.length === lines.length
            ? plural(lines.length, "line")
            : `${count(shown.length)} of ${plural(lines.length, "line")}`}
        </span>
        {running && (
          <Button kind="quiet" icon="down" pressed={follow} onClick={() => setFollow(!follow)}>
            follow
          </Button>
        )}
        <CopyButton text={() => shown.map((line) => `${line.at} ${line.level} ${plain(line.message)}`).join("\n")} />
      </div>
      <div
        class="logs-box"
        ref={box}
        style={{ height: `${Math.max(shown.length, 3) * TALL + 2}px` }}
        onScroll={scroll}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label="Log lines"
      >
        <div class="logs-all" style={{ height: `${shown.length * TALL}px` }}>
          <div class="logs-sight" style={{ transform: `translateY(${first * TALL}px)` }}>
            {inSight.map((line, index) => (
              <div key={first + index} class={`log-line level-${line.level.toLowerCase()}`}>
                <time>{clock(Date.parse(line.at), zone.value, now.peek())}</time>
                <span class="level">{line.level.toLowerCase()}</span>
                <span>{plain(line.message)}</span>
              </div>
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}
