/** Which page is shown, and the keys that work on all of them. */
import { render, type JSX } from "preact";
import { Component, type ComponentChildren } from "preact";
import { paused } from "./live";
import { useKeys } from "./keys";
import { go, match, route } from "./router";
import { Button, Empty, Card } from "./parts/basic";
import { Confirm } from "./parts/Dialog";
import { Help, helpOpen } from "./parts/Help";
import { Palette, paletteOpen } from "./parts/Palette";
import { PAGES, Shell } from "./parts/Shell";
import { Toasts } from "./parts/Toasts";
import { Failures } from "./pages/Failures";
import { Job } from "./pages/Job";
import { Jobs } from "./pages/Jobs";
import { Limits } from "./pages/Limits";
import { Overview } from "./pages/Overview";
import { Queue } from "./pages/Queue";
import { Queues } from "./pages/Queues";
import { Schedules } from "./pages/Schedules";
import { System } from "./pages/System";
import { Task } from "./pages/Task";
import { Tasks } from "./pages/Tasks";
import { Worker } from "./pages/Worker";
import { Workers } from "./pages/Workers";
import { Workflow } from "./pages/Workflow";
import { Workflows } from "./pages/Workflows";

const ROUTES: readonly [string, (names: Record<string, string>) => JSX.Element][] = [
  ["/", () => <Overview />],
  ["/jobs", () => <Jobs />],
  ["/jobs/:id", ({ id }) => <Job key={id} id={id} />],
  ["/failures", () => <Failures />],
  ["/queues", () => <Queues />],
  ["/queues/:name", ({ name }) => <Queue key={name} name={name} />],
  ["/workers", () => <Workers />],
  ["/workers/:id", ({ id }) => <Worker key={id} id={id} />],
  ["/schedules", () => <Schedules />],
  ["/workflows", () => <Workflows />],
  ["/workflows/:id", ({ id }) => <Workflow key={id} id={id} />],
  ["/limits", () => <Limits />],
  ["/tasks", () => <Tasks />],
  ["/tasks/:name", ({ name }) => <Task key={name} name={name} />],
  ["/system", () => <System />],
];

function Page(): JSX.Element {
  const { path } = route.value;
  for (const [pattern, show] of ROUTES) {
    const names = match(pattern, path);
    if (names) return show(names);
  }
  return (
    <Card>
      <Empty title="There is no such page">
        <Button onClick={() => go("/")}>To the overview</Button>
      </Empty>
    </Card>
  );
}

/** A mistake in one page must not take the rail along. */
class Guard extends Component<{ children: ComponentChildren; path: string }, { error: Error | null; path: string }> {
  state = { error: null, path: this.props.path };

  static getDerivedStateFromError = (error: Error): { error: Error } => ({ error });

  static getDerivedStateFromProps(props: { path: string }, state: { path: string }): object | null {
    return props.path === state.path ? null : { error: null, path: props.path };
  }

  render(): ComponentChildren {
    const { error } = this.state as { error: Error | null };
    if (!error) return this.props.children;
    return (
      <Card>
        <Empty title="This page has a bug" code={String(error.stack ?? error)}>
          The others work. A report with these lines helps:{" "}
          <Button onClick={() => this.setState({ error: null })}>Try again</Button>
        </Empty>
      </Card>
    );
  }
}

function App(): JSX.Element {
  useKeys({
    ...Object.fromEntries(PAGES.map((page) => [page.key, () => go(page.to)])),
    "mod+k": () => {
      paletteOpen.value = !paletteOpen.value;
    },
    "?": () => {
      helpOpen.value = true;
    },
    p: () => {
      paused.value = !paused.value;
    },
  });
  return (
    <>
      <Shell>
        <Guard path={route.value.path}>
          <Page />
        </Guard>
      </Shell>
      <Palette />
      <Help />
      <Confirm />
      <Toasts />
    </>
  );
}

export function start(): void {
  const place = document.getElementById("page");
  if (place) render(<App />, place);
}
