/* A reader's child with questions for tests; see reader.test.ts. */
import { serve } from '../../../src/agent/reader/serve.ts';

const never = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);

await serve({
  echo: async () => (question) => question,
  pid: async () => () => process.pid,
  environment: async () => () => ({ names: Object.keys(process.env), cwd: process.cwd() }),
  long: async () => (bytes: number) => 'x'.repeat(bytes),
  failure: async () => () => {
    throw Object.assign(new Error('no such thing'), { code: 'ENOENT' });
  },
  crash: async () => () => process.kill(process.pid, 'SIGKILL'),
  hang: async () => (question: { hangs?: boolean; name: string }, context) => {
    context.at(`looking at ${question.name}`);
    if (question.hangs === true) never();
    return question.name;
  },
  steps: async () => async (count: number, context) => {
    for (let i = 0; i < count; i += 1) {
      context.at(String(i));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return count;
  },
  busy: async () => (ms: number) => {
    const end = performance.now() + ms;
    while (performance.now() < end);
    return ms;
  },
});
