import { isUtf8 } from 'node:buffer';
import { counted, printable, printableJson } from '../../core/base/text.ts';
import { readArguments, UsageError, type World } from '../../core/command-line/command.ts';
import { linesOf } from './input-files.ts';
import { type NumberedMessage, readLine } from './verify-chain/record.ts';
import { type ChainReport, verifyChains } from './verify-chain/verify.ts';

export const summary = 'Find messages of an agent that are missing, altered or out of order.';
export const usage = `vakt verify-chain FILE [--partial] [--json]

  FILE        messages as they were received, a line of JSON each; "-" reads standard input
  --partial   FILE begins in the middle of a chain: do not report what was before
  --json      print one JSON object per chain

Each line has the body of a message and its application properties, Chain, Sequence, PreviousDigest and Abandoned among
them. Such lines are written by
  vakt emulator --record FILE   {"applicationProperties": {...}, "body": "text"}
  vakt run --dry-run            {"application": {...}, "body": {...}}
  a hub's route to storage      {"Properties": {...}, "Body": {...}}, or the body in Base64
Messages of other senders are skipped. A line that readers of JSON could take for different messages, such as one with its
body twice, is refused.

A message's body is proved by the next message, which has its digest. What was at the end of a chain, and is missing or
altered, cannot be found: compare the last number with Chain and Sequence of a later message, or with what arrives next.

No digest covers the properties, and they are not signed. So this detects lost, damaged and reordered messages, and changes without
matching properties. It does not detect changes by anyone who also adjusted the properties.

Exit status: 0 nothing was found missing or altered; 1 something was, or FILE has no message with a number; 2 wrong
usage.`;

export async function run(args: readonly string[], { stdout, stderr, signal }: World): Promise<number> {
  const options = { partial: { type: 'boolean' }, json: { type: 'boolean' } } as const;
  const { values, positionals } = readArguments(args, options, 1);
  const [file] = positionals;
  if (file === undefined) throw new UsageError('FILE is missing');
  const messages: NumberedMessage[] = [];
  const problems: string[] = [];
  let otherLines = 0;
  for await (const [bytes, line] of linesOf(file, signal)) {
    if (bytes.every(isBlank)) continue;
    const read = isUtf8(bytes) ? readLine(bytes.toString(), line) : { line, problem: 'is not valid UTF-8' };
    if ('sequence' in read) messages.push(read);
    else if ('problem' in read) problems.push(`line ${line} ${read.problem}`);
    else otherLines += 1;
  }
  const reports = verifyChains(messages, { isPartial: values.partial === true });
  if (values.json) for (const report of reports) stdout(printableJson(JSON.stringify(report)));
  else for (const report of reports) for (const line of describe(report)) stdout(line);
  for (const problem of problems) stderr(printable(`WRONG  ${problem}`));
  if (otherLines > 0) stderr(`Skipped ${counted(otherLines, 'message')} of other senders.`);
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
    ...(wrong.length === 0 ? ['  ok          no number is missing, all are in order, and digests fit'] : []),
    ...unproved.map((text) => `  not proved  ${text}`),
  ].map(printable);
}

/** White space allowed around JSON: tab, line end, carriage return, space. */
const isBlank = (byte: number): boolean => byte === 0x09 || byte === 0x0a || byte === 0x0d || byte === 0x20;
