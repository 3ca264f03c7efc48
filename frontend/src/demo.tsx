import "uplot/dist/uPlot.min.css";
import "./styles/all.css";
import "@preact/signals";
import { setTransport } from "./api";
import { start } from "./app";
import { Play } from "./fixtures/play";
import { startRouter } from "./router";

setTransport(new Play(new URLSearchParams(location.search).get("fixtures") === "empty"));
startRouter({ hash: true });
start();
