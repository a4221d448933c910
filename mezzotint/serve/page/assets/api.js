// The server's own API: JSON in and out, and one stream of events that goes on where it was cut off.

export class ApiError extends Error {
  constructor(status, code, message, param) {
    super(message);
    Object.assign(this, { status, code, param });
  }
}

export async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "unreachable", "The server cannot be reached.", null);
  }
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = data.error ?? {};
    throw new ApiError(answer.status, error.code, error.message ?? `The server answered ${answer.status}.`, error.param);
  }
  return data;
}

export async function fetchBlob(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new ApiError(answer.status, "no_image", `The image cannot be fetched (${answer.status}).`, null);
  return answer.blob();
}

// Yields {name, data} of server-sent events; returns when the stream ends.
async function* eventsOf(answer, remember) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const event = { name: "message", data: null };
      for (const line of frame.split("\n")) {
        if (line.startsWith("event: ")) event.name = line.slice(7);
        else if (line.startsWith("id: ")) remember(line.slice(4));
        else if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
      }
      if (event.data !== null) yield event;
    }
  }
}

// Follows all jobs for ever. `onConnect` runs after each connection, `onEvent` for each event, `onAway` for each loss.
export async function follow({ onConnect, onEvent, onAway }) {
  let last = null;
  let pause = 300;
  for (;;) {
    try {
      const headers = last === null ? {} : { "Last-Event-ID": last };
      const answer = await fetch("/api/v1/events", { headers });
      if (!answer.ok) throw new ApiError(answer.status, "stream", "No events.", null);
      pause = 300;
      await onConnect();
      for await (const event of eventsOf(answer, (number) => { last = number; })) onEvent(event);
    } catch (error) {
      if (error.status === 401) await onAway(error);
    }
    await onAway(null);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 5000);
  }
}
