import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { Output } from '../../../src/core/command-line/output.ts';

const failing = (code: string) =>
  new Writable({ write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })) });

describe('Output', () => {
  it('writes lines', async () => {
    const stream = new PassThrough();
    const output = new Output(
      () => stream,
      () => assert.fail('has not ended'),
    );
    output.line('a');
    output.line('b');
    assert.equal(await output.flush(), undefined);
    assert.equal(String(stream.read()), 'a\nb\n');
  });

  it('shows what a command has let pass that a terminal would not show', async () => {
    const stream = new PassThrough();
    const output = new Output(
      () => stream,
      () => assert.fail('has not ended'),
    );
    output.line('\u001b[1ma\u202eb\u200b');
    await output.flush();
    assert.equal(String(stream.read()), '\u001b[1ma<U+202E>b<U+200B>\n');
  });

  it('does not touch the stream when there was nothing to write: it may belong to the log', async () => {
    const output = new Output(
      () => failing('ENOSPC'),
      () => assert.fail('has not ended'),
    );
    assert.equal(await output.flush(), undefined);
  });

  it('waits until everything is written', async () => {
    let release = () => {};
    const stream = new Writable({
      write: (_chunk, _encoding, done) => {
        release = done;
      },
    });
    const output = new Output(
      () => stream,
      () => {},
    );
    output.line('a');
    let flushed = false;
    const flushing = output.flush().then(() => {
      flushed = true;
    });
    await nextTurn();
    assert.equal(flushed, false);
    release();
    await nextTurn();
    release();
    await flushing;
  });

  for (const [code, status, why] of [
    ['EPIPE', 141, undefined],
    ['ENOSPC', 1, 'ENOSPC'],
  ] as const) {
    it(`ends at ${code} with ${status}, tells that once, and takes no more`, async () => {
      const results: (string | undefined)[] = [];
      const output = new Output(
        () => failing(code),
        (reason) => results.push(reason),
      );
      output.line('a');
      output.line('b');
      assert.equal(await output.flush(), status);
      await nextTurn();
      output.line('c');
      assert.equal(await output.flush(), status);
      assert.deepEqual(results, [why]);
    });
  }

  it('leaves out live lines while too much waits for the reader, and says how many when it has caught up', async () => {
    const stream = new PassThrough();
    const leftOut: number[] = [];
    const output = new Output(
      () => stream,
      () => assert.fail('has not ended'),
      (lines) => leftOut.push(lines),
    );
    const long = `${'x'.repeat(1024 * 1024)}\nend`;
    for (let n = 0; n < 20; n += 1) output.line(long, 'live');
    output.line('result');
    assert.deepEqual(leftOut, []);
    stream.setEncoding('utf8');
    let text = '';
    stream.on('data', (chunk) => {
      text += chunk;
    });
    assert.equal(await output.flush(), undefined);
    output.line('later', 'live');
    await output.flush();
    const lines = text.trimEnd().split('\n');
    const shown = lines.filter((line) => line === 'end').length;
    assert.ok(shown >= 8 && shown <= 10, `${shown} shown`);
    assert.deepEqual(lines.slice(2 * shown), ['result', 'later']);
    assert.deepEqual(leftOut, [2 * (20 - shown)]);
  });

  it('does not report omitted lines once the reader has closed the pipe', async () => {
    const stream = new Writable({
      write: (_chunk, _encoding, done) => setImmediate(done, Object.assign(new Error(), { code: 'EPIPE' })),
    });
    const output = new Output(
      () => stream,
      () => {},
      () => assert.fail('nobody asks for them'),
    );
    const long = 'x'.repeat(16 * 1024 * 1024);
    for (let n = 0; n < 3; n += 1) output.line(long, 'live');
    assert.equal(await output.flush(), 141);
    await nextTurn();
  });

  it('ends when writing throws, as it does for files in older releases of Node', async () => {
    const stream = new PassThrough();
    stream.write = () => {
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    };
    let results = 0;
    const output = new Output(
      () => stream,
      () => {
        results += 1;
      },
    );
    output.line('a');
    assert.equal(await output.flush(), 1);
    assert.equal(results, 1);
  });
});
