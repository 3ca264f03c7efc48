/** The small words of every page. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { say } from "../actions";
import type { Problem } from "../api";
import { ago, clock, duration, exact, splitName } from "../format";
import { now } from "../live";
import { Link, jobPath, taskPath, type Query } from "../router";
import { zone } from "../settings";
import { Icon, type IconName } from "./icons";

type Children = { children?: ComponentChildren };

/** A page's head: where we are, what it is called, what may be done with it. */
export function Head({
  title,
  up,
  actions,
  children,
}: Children & { title: ComponentChildren; up?: [string, string]; actions?: ComponentChildren }): JSX.Element {
  return (
    <header class="head">
      {up && (
        <Link class="up" to={up[0]}>
          <Icon name="left" />
          {up[1]}
        </Link>
      )}
      <div class="head-row">
        <h1>{title}</h1>
        {actions && <div class="actions">{actions}</div>}
      </div>
      {children}
    </header>
  );
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Windlass`;
  }, [title]);
}

export function Card({
  title,
  aside,
  children,
  flush,
  id,
}: Children & { title?: ComponentChildren; aside?: ComponentChildren; flush?: boolean; id?: string }): JSX.Element {
  return (
    <section class={flush ? "card flush" : "card"} id={id}>
      {(title || aside) && (
        <div class="card-head">
          {title && <h2>{title}</h2>}
          {aside && <div class="aside">{aside}</div>}
        </div>
      )}
      {children}
    </section>
  );
}

type ButtonProps = Children & {
  icon?: IconName;
  onClick?: () => void;
  kind?: "main" | "quiet" | "danger";
  label?: string;
  disabled?: boolean;
  type?: "submit" | "button";
  pressed?: boolean;
};

export function Button({
  icon,
  onClick,
  kind,
  label,
  disabled,
  type = "button",
  pressed,
  children,
}: ButtonProps): JSX.Element {
  return (
    <button
      type={type}
      class={`button ${kind ?? ""} ${children ? "" : "square"}`}
      onClick={onClick}
      disabled={disabled}
      aria-label={children ? undefined : label}
      title={label}
      aria-pressed={pressed}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** How long ago, on a clock that stands still when updates are paused; in full on hover. */
export function Ago({ at }: { at: string | null }): JSX.Element {
  if (!at) return <span class="faint">–</span>;
  const time = Date.parse(at);
  return (
    <time dateTime={at} title={exact(time, zone.value)}>
      {ago(time, now.value)}
    </time>
  );
}

export function Clock({ at }: { at: string | null }): JSX.Element {
  if (!at) return <span class="faint">–</span>;
  const time = Date.parse(at);
  return (
    <time dateTime={at} title={exact(time, zone.value)}>
      {clock(time, zone.value, now.value)}
    </time>
  );
}

/** The time since `from`, or from there to `until`. */
export function Elapsed({ from, until }: { from: string | null; until?: string | null }): JSX.Element {
  if (!from) return <span class="faint">–</span>;
  const end = until ? Date.parse(until) : now.value;
  return <span class="number">{duration(Math.max(0, (end - Date.parse(from)) / 1000))}</span>;
}

export function TaskName({ name, to, link = true }: { name: string; to?: string; link?: boolean }): JSX.Element {
  const [module, own] = splitName(name);
  const words = (
    <>
      <span class="module">{module}</span>
      {own}
    </>
  );
  return link ? (
    <Link class="task" to={to ?? taskPath(name)} title={name}>
      {words}
    </Link>
  ) : (
    <span class="task" title={name}>
      {words}
    </span>
  );
}

export const JobLink = ({ id, children }: Children & { id: string }): JSX.Element => (
  <Link to={jobPath(id)} class="mono" title={id}>
    {children ?? id.slice(-8)}
  </Link>
);

/** The list of jobs that explains a number. */
export function JobsLink({
  q,
  children,
  query,
  title,
}: Children & { q: string; query?: Query; title?: string }): JSX.Element {
  return (
    <Link to="/jobs" query={{ q, ...query }} class="number plain" title={title}>
      {children}
    </Link>
  );
}

export function Empty({ title, children, code }: Children & { title: string; code?: string }): JSX.Element {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {code && <CodeBlock code={code} />}
    </div>
  );
}

export function CodeBlock({ code, label }: { code: string; label?: string }): JSX.Element {
  return (
    <div class="code">
      <pre tabIndex={0} aria-label={label}>
        {code}
      </pre>
      <CopyButton text={code} />
    </div>
  );
}

/** Copies also where the clipboard's API is missing: it is on plain HTTP, where many dashboards live. */
export function copy(text: string): boolean {
  if (navigator.clipboard && isSecureContext) {
    void navigator.clipboard.writeText(text);
    return true;
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "offscreen";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** `text`: a function where it is long, and wanted only when somebody copies it. */
export function CopyButton({ text, children }: Children & { text: string | (() => string) }): JSX.Element {
  const [done, setDone] = useState(false);
  const click = (): void => {
    if (!copy(typeof text === "string" ? text : text())) {
      say("This browser does not let the page copy. Select the text instead.", { kind: "bad" });
      return;
    }
    setDone(true);
    setTimeout(() => setDone(false), 1_500);
  };
  return (
    <Button
      kind="quiet"
      icon={done ? "check" : "copy"}
      label={children ? undefined : done ? "Copied" : "Copy"}
      onClick={click}
    >
      {children}
    </Button>
  );
}

const ADVICE: Record<number, string> = {
  0: "It may be restarting, or the network is down. This page keeps trying.",
  401: "Reload the page to sign in again.",
  403: "Your role does not allow it. Ask whoever runs this dashboard.",
  404: "It was deleted, its time was over, or it never was.",
  503: "The store does not answer. Is it running? The command “windlass doctor” says more.",
};

export function Trouble({ problem, again }: { problem: Problem; again?: () => void }): JSX.Element {
  const advice = problem.detail || ADVICE[problem.status] || "The server's log says more.";
  return (
    <div class="trouble" role="alert">
      <Icon name="failures" />
      <div>
        <h2>{problem.title}</h2>
        <p>{advice}</p>
      </div>
      {again && (
        <Button icon="retry" onClick={again}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** What will be here, in grey: lines of a list or a block. */
export function Skeleton({ rows = 6, block }: { rows?: number; block?: boolean }): JSX.Element {
  return (
    <div class={block ? "skeleton block" : "skeleton"} role="status" aria-label="loading">
      {!block && Array.from({ length: rows }, (_, index) => <div key={index} />)}
    </div>
  );
}

export function Tabs({
  of,
  now: current,
  pick,
  label,
}: {
  of: readonly (readonly [string, ComponentChildren])[];
  now: string;
  pick: (name: string) => void;
  label: string;
}): JSX.Element {
  return (
    <div class="tabs" role="group" aria-label={label}>
      {of.map(([name, text]) => (
        <button key={name} type="button" aria-pressed={name === current} onClick={() => pick(name)}>
          {text}
        </button>
      ))}
    </div>
  );
}
