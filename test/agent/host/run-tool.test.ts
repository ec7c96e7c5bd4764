import assert from 'node:assert/strict';
import { isOwnProcess } from '../../../src/agent/host/own-processes.ts';
import { findTool, runTool, ToolError } from '../../../src/agent/host/run-tool.ts';
import { milliseconds } from '../../../src/core/base/duration.ts';

const signal = new AbortController().signal;
const node = process.execPath;
const run = (script: string, options: object = {}) =>
  runTool(node, ['-e', script], { signal, maxBytes: 1_000, ...options });

const fails = async (work: Promise<unknown>, expected: Partial<ToolError>) => {
  const error = await work.then(
    () => assert.fail('it worked'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ToolError, String(error));
  for (const [name, value] of Object.entries(expected)) assert.equal(error[name as keyof ToolError], value);
  return error;
};

describe('runTool', () => {
  it("returns the tool's output", async () => assert.equal(await run("process.stdout.write('ä\\n')"), 'ä\n'));

  it('runs the tool without input and with a minimal environment', async () => {
    const environment = await run(
      'console.log(Object.keys(process.env).sort().join(), require("fs").readFileSync(0).length)',
    );
    assert.equal(environment, 'LC_ALL,PATH 0\n');
  });

  it('passes arguments unchanged', async () => {
    const argument = '$(id); "x" \n';
    const output = await runTool(node, ['-p', 'JSON.stringify(process.argv[1])', argument], {
      signal,
      maxBytes: 1_000,
    });
    assert.equal(JSON.parse(output), argument);
  });

  it("fails with the first line of the tool's error output", async () => {
    const error = await fails(run("console.error('no\\nmore'); process.exitCode = 3"), { exitStatus: 3 });
    assert.match(error.message, /exited with status 3: no$/);
  });

  it('accepts another exit status on request', async () => {
    assert.equal(await run("console.log('x'); process.exitCode = 2", { alsoFine: [2] }), 'x\n');
  });

  it('times out', () => fails(run('setTimeout(() => {}, 1e6)', { limit: milliseconds(50) }), { code: 'ETIMEDOUT' }));

  it('rejects an answer that is too long', () => fails(run("console.log('x'.repeat(2000))"), { code: 'ENOBUFS' }));

  it('reports why the tool cannot be started', () =>
    fails(runTool('/nonexistent', [], { signal, maxBytes: 1 }), { code: 'ENOENT' }));

  it('stops when it is aborted', async () => {
    const stop = new AbortController();
    const work = run('setTimeout(() => {}, 1e6)', { signal: stop.signal });
    stop.abort(new Error('stopping'));
    await assert.rejects(work, /stopping/);
    await assert.rejects(run('', { signal: stop.signal }), /stopping/);
  });

  it('remembers which processes belong to the agent', async () => {
    const pid = Number(await run('console.log(process.pid)'));
    assert.equal(isOwnProcess(pid, process.pid), true);
    assert.equal(isOwnProcess(process.pid, process.ppid), false);
    assert.equal(isOwnProcess(pid, process.ppid), false, 'the pid of a tool that has ended is given to others');
  });
});

describe('findTool', () => {
  it('finds a tool that every system has', () => assert.match(findTool('true') ?? '', /^\/usr\/s?bin\/true$/));
  it('returns undefined for a missing tool', () => assert.equal(findTool('no-such-tool'), undefined));
});
