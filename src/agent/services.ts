import { type Handler, serveControlSocket } from '../base/control-socket.ts';
import { AgentError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { LogTap } from '../base/log-tap.ts';
import type { Service } from '../base/service.ts';
import type { Occurrences } from '../collectors/occurrences.ts';
import type { Triggers } from '../pipeline/triggers.ts';

/** Lets `vakt status` ask. Without it the agent still does its work, so that only another running agent is fatal. */
export function controlSocket(path: string, handlers: Parameters<typeof serveControlSocket>[1], log: Logger): Service {
  let close = async () => {};
  return {
    name: 'control socket',
    async start() {
      try {
        close = await serveControlSocket(path, handlers);
      } catch (error) {
        if (error instanceof AgentError) throw error;
        log.warn({ path, err: error }, 'Could not open the control socket; "vakt status" will not work.');
      }
    },
    stop: () => close(),
  };
}

/** Streams the payloads of one event, a JSON line each, for `vakt collect`. A reader that is too slow misses some. */
export const followHandler =
  (triggers: Triggers): Handler =>
  (query, response) => {
    const event = query.get('event');
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    const end = triggers.follow((name, payload) => {
      if (name === event && !response.writableNeedDrain) response.write(`${JSON.stringify(payload)}\n`);
    });
    response.on('close', end);
    return undefined;
  };

/** Last to start, so first to stop: says so before anything else ends. */
export const endOfRun = (say: () => void): Service => ({
  name: 'end of run',
  start: async () => {},
  stop: async () => say(),
});

/** Stopped before the queues close: what is logged after that can't become an event any more. */
export function logEvents(tap: LogTap, occurrences: Occurrences): Service {
  let stop = () => {};
  return {
    name: 'log events',
    async start() {
      stop = tap.listen((line) => occurrences.accept('log', [line]));
    },
    stop: async () => stop(),
  };
}
