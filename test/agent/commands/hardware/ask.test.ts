import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { askHardware, commandFor } from '../../../../src/agent/commands/hardware/ask.ts';
import { HARDWARE_QUESTIONS } from '../../../../src/agent/commands/hardware/questions.ts';
import { findTool } from '../../../../src/agent/host/run-tool.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { skip } from '../../../harness/require.ts';
import { until } from '../../../harness/until.ts';

const { signal } = new AbortController();
const question = (name: string) => ({ name, about: '', args: [], needs: 'files' as const });

describe('askHardware', function () {
  this.timeout(minutes(3));

  it('askHardware gets an answer to each question from this machine', async () => {
    const { answers, problems } = await askHardware({ signal, limit: minutes(1) });
    const all = [...Object.keys(answers), ...Object.keys(problems)];
    assert.deepEqual(all.sort(), HARDWARE_QUESTIONS.map(({ name }) => name).sort());
    assert.deepEqual(problems, {});
    const { networkInterfaces } = answers as { networkInterfaces: readonly { iface: string }[] };
    assert.ok(networkInterfaces.some(({ iface }) => iface === 'lo'));
  });

  describe('the child program', () => {
    let folder: string;
    beforeEach(() => {
      folder = temporaryFolder();
    });
    /** A child that runs `script`, with the question's name as `name`. */
    const program = (script: string): string => {
      const path = join(folder, 'child.mjs');
      const imports = "import { spawn } from 'node:child_process'; import { writeFileSync, writeSync } from 'node:fs';";
      writeFileSync(path, `${imports} const name = process.argv[2]; ${script}`);
      return path;
    };

    it('askHardware kills a program that hangs, with its children, and continues with the other programs', async () => {
      const pidFile = join(folder, 'pid');
      const script = `if (name === 'hangs') {
        const { pid } = spawn('/bin/sleep', ['1000']);
        writeFileSync(${JSON.stringify(pidFile)}, String(pid));
        for (;;);
      }
      console.log('"fine"');`;
      const questions = ['first', 'hangs', 'last'].map(question);
      const ask = (limit: Duration) => askHardware({ signal, limit, questions, program: program(script) });
      let limit = seconds(5);
      let found = await ask(limit);
      if (Object.keys(found.problems).length > 1) {
        limit = seconds(40); // A busy machine may need more than 5 s to start a program.
        found = await ask(limit);
      }
      assert.deepEqual(found.answers, { first: 'fine', last: 'fine' });
      assert.deepEqual(found.problems, { hangs: `it took longer than ${limit / 1_000} s, and was ended` });
      const pid = readFileSync(pidFile, 'utf8');
      const isGone = () => !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
      await until('the end of the sleep', isGone);
    });

    for (const [what, script, problem] of [
      ['fails', "console.error('no dmidecode'); process.exitCode = 1;", /^it ended with 1: no dmidecode$/],
      ['is killed', "process.kill(process.pid, 'SIGKILL');", /^it ended with SIGKILL$/],
      ['prints invalid JSON', "console.log('{');", /^its answer is not JSON$/],
      ['prints without end', "for (;;) writeSync(1, 'x'.repeat(65536));", /^its answer is longer than \d+ bytes$/],
    ] as const) {
      it(`askHardware reports the problem of a program that ${what}`, async () => {
        const { problems } = await askHardware({ signal, questions: [question('a')], program: program(script) });
        assert.match(problems.a ?? '', problem);
      });
    }

    it('askHardware passes only PATH to the environment of a program', async () => {
      const questions = [question('a')];
      const { answers } = await askHardware({
        signal,
        questions,
        program: program('console.log(JSON.stringify(process.env));'),
      });
      assert.deepEqual(answers.a, { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' });
    });

    it('askHardware run by root gives no capabilities to a program that does not read disks', async function () {
      if (process.geteuid?.() !== 0) skip(this, 'only root has rights to drop');
      if (findTool('setpriv') === undefined) skip(this, 'setpriv is not here');
      const script = `import { readFileSync } from 'node:fs';
        const [, mask] = /^CapEff:\\s+(\\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'));
        console.log(JSON.stringify([process.getuid(), mask]));`;
      const { answers } = await askHardware({ signal, questions: [question('a')], program: program(script) });
      assert.deepEqual(answers.a, [0, '0'.repeat(16)]);
    });

    it('askHardware rejects when Ctrl-C aborts it', async () => {
      const stop = new AbortController();
      const asked = askHardware({ signal: stop.signal, questions: [question('a')], program: program('for (;;);') });
      setTimeout(() => stop.abort(new Error('stop')), milliseconds(200));
      await assert.rejects(asked, /stop/);
    });
  });
});

describe('commandFor', () => {
  it('commandFor selects an unprivileged user if root starts a program that needs no privileges', () => {
    const [command, args, user] = commandFor({ needs: 'none' }, ['a'], { uid: 0, setpriv: '/usr/bin/setpriv' });
    assert.deepEqual([command, args, user], [process.execPath, ['a'], { uid: 65_534, gid: 65_534 }]);
  });

  it('commandFor keeps only the capabilities that a program needs to read disks', () => {
    const [command, args, user] = commandFor({ needs: 'disks' }, ['a'], { uid: 0, setpriv: '/usr/bin/setpriv' });
    assert.deepEqual([command, user], ['/usr/bin/setpriv', {}]);
    assert.deepEqual(args.slice(1, 2), ['--bounding-set=-all,+sys_rawio,+sys_admin']);
    assert.deepEqual(args.slice(-2), [process.execPath, 'a']);
  });

  it('commandFor changes nothing for a user other than root', () =>
    assert.deepEqual(commandFor({ needs: 'disks' }, ['a'], { uid: 1_000 }), [process.execPath, ['a'], {}]));
});
