// Orders pictures, and shows each as it is painted: previews come over the job's event stream, which the browser resumes by itself.

const form = document.querySelector("form");
const list = document.querySelector("ol");
const template = document.querySelector("template");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = form.prompt.value.trim();
  if (!text) return;
  form.reset();
  const card = template.content.firstElementChild.cloneNode(true);
  const [image, words, state] = card.children;
  words.textContent = text;
  image.alt = text;
  list.prepend(card);
  const answer = await fetch("/pictures", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }),
  });
  if (!answer.ok) {
    state.textContent = "refused";
    return;
  }
  follow((await answer.json()).job, text, image, state);
});

function follow(job, text, image, state) {
  const events = new EventSource(`/jobs/${job}/events`);
  events.addEventListener("chunk", (event) => {
    const { step, previews } = JSON.parse(event.data);
    image.src = `data:image/png;base64,${previews[text]}`;
    state.textContent = `step ${step}`;
  });
  events.addEventListener("end", (event) => {
    events.close();
    const ended = JSON.parse(event.data).state;
    state.textContent = ended === "succeeded" ? "" : ended;
    if (ended === "succeeded") image.src = `/pictures/${job}`;
  });
}
