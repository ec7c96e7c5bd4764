import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { counted } from '../base/counted.ts';
import { messageOf } from '../base/errors.ts';
import { readArguments, UsageError, type World } from './command.ts';
import { type NumberedMessage, readLine } from './verify-chain/record.ts';
import { type ChainReport, verifyChains } from './verify-chain/verify.ts';

export const summary = 'Prove that no message of an agent is missing or altered.';
export const usage = `vakt verify-chain FILE [--partial] [--json]

  FILE        messages as they were received, a line of JSON each; "-" reads standard input
  --partial   FILE begins in the middle of a chain: do not report what was before
  --json      print one JSON object per chain

Each line has the body of a message and its application properties, Chain, Sequence, PreviousDigest and Abandoned among
them. A line that readers of JSON could take for different messages, such as one with its body twice, is refused. Such lines
are written by
  vakt emulator --record FILE   {"applicationProperties": {...}, "body": "text"}
  vakt run --dry-run            {"application": {...}, "body": {...}}
  a hub's route to storage      {"Properties": {...}, "Body": {...}}, or the body in Base64
Messages of other senders are skipped.

A message is proved by the next one. What was at the end of a chain, and is missing or altered, cannot be found: compare the
last number with Chain and Sequence of a later message, or with what arrives next.

Exit status: 0 nothing is missing or altered; 1 something is, or FILE has no message with a number.`;

export async function run(args: readonly string[], { stdout, stderr }: World): Promise<number> {
  const options = { partial: { type: 'boolean' }, json: { type: 'boolean' } } as const;
  const { values, positionals } = readArguments(args, options, 1);
  const [file] = positionals;
  if (file === undefined) throw new UsageError('FILE is missing');
  const messages: NumberedMessage[] = [];
  const problems: string[] = [];
  let others = 0;
  for await (const [bytes, line] of linesOf(file)) {
    if (bytes.every(isBlank)) continue;
    const read = isUtf8(bytes) ? readLine(bytes.toString(), line) : { line, problem: 'is not valid UTF-8' };
    if ('sequence' in read) messages.push(read);
    else if ('problem' in read) problems.push(`line ${line} ${read.problem}`);
    else others += 1;
  }
  const reports = verifyChains(messages, { isPartial: values.partial === true });
  if (values.json) for (const report of reports) stdout(JSON.stringify(report));
  else for (const report of reports) for (const line of describe(report)) stdout(line);
  for (const problem of problems) stderr(`WRONG  ${problem}`);
  if (others > 0) stderr(`Skipped ${counted(others, 'message')} of other senders.`);
  if (messages.length === 0) stderr('There is no message with a number.');
  const isProved = problems.length === 0 && messages.length > 0 && reports.every(({ wrong }) => wrong.length === 0);
  return isProved ? 0 : 1;
}

function describe({ chain, first, last, messages, repeats, abandoned, wrong, unproved }: ChainReport): string[] {
  const counts = [
    `${counted(messages, 'message')}, numbers ${first} to ${last}`,
    ...(repeats > 0 ? [`${repeats} repeated`] : []),
    ...(abandoned > 0 ? [`${counted(abandoned, 'number')} given up by the agent`] : []),
  ];
  return [
    `Chain ${chain}: ${counts.join(', ')}`,
    ...wrong.map((text) => `  WRONG       ${text}`),
    ...(wrong.length === 0 ? ['  ok          none is missing, none is altered, all are in order'] : []),
    ...unproved.map((text) => `  not proved  ${text}`),
  ];
}

/** What may be around JSON: tab, line end, carriage return, blank. */
const isBlank = (byte: number): boolean => byte === 0x09 || byte === 0x0a || byte === 0x0d || byte === 0x20;

/** Lines with their numbers, as bytes: text would hide what is not UTF-8. Not by readline, which also splits at U+2028. */
async function* linesOf(file: string): AsyncIterable<readonly [bytes: Buffer, line: number]> {
  let line = 0;
  let rest: Buffer[] = [];
  try {
    for await (const chunk of file === '-' ? process.stdin : createReadStream(file)) {
      let bytes = chunk as Buffer;
      for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a)) {
        yield [Buffer.concat([...rest, bytes.subarray(0, end)]), ++line];
        rest = [];
        bytes = bytes.subarray(end + 1);
      }
      rest.push(bytes);
    }
  } catch (cause) {
    throw new UsageError(`cannot read ${file}: ${messageOf(cause)}`);
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) yield [last, ++line];
}
