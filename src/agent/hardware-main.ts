import '../core/base/no-inspector.ts'; // must be first, see there
import { messageOf } from '../core/base/errors.ts';
import { HARDWARE_QUESTIONS } from './commands/hardware/questions.ts';

/*
 * Main module of the child process that asks the package systeminformation one question (commands/hardware/ask.ts) and prints the
 * answer as JSON. Only commands that an operator starts run it: the package starts shells, and costs memory that a device
 * should not pay for all the time.
 */

type Functions = Readonly<Record<string, (...args: readonly string[]) => Promise<unknown>>>;

async function main(name: string | undefined): Promise<void> {
  const question = HARDWARE_QUESTIONS.find((one) => one.name === name);
  if (question === undefined) throw new Error('there is no such question');
  const { default: functions } = (await import('systeminformation')) as unknown as { default: Functions };
  const answer = await functions[question.name]?.(...question.args);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}

main(process.argv[2]).catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
});
