import { recall, recallTable } from '../test/agent/detections/recall.ts';
import { idOf } from '../test/agent/detections/unseen-cases.ts';

/* Prints how well the built-in rules do on the unseen cases and on the recorded benign starts:
 *
 *     node dist/scripts/rules-recall.js           numbers for each alert, and benign hits by rule
 *     node dist/scripts/rules-recall.js --all     each missed attack, wrong look-alike and benign hit as well
 *
 * Authors of rules use the first form only: rules that were tuned on these cases would no longer be measured.
 */

const result = recall();
console.log(recallTable(result));
if (process.argv[2] === '--all') {
  for (const { one, raised } of result.missed) {
    console.log(`\nmissed: ${idOf(one)} (${one.kind})\n  ${JSON.stringify(one.events[0])}\n  raised: ${names(raised)}`);
  }
  for (const { one, raised } of result.wrong) {
    console.log(`\nwrong: ${idOf(one)}\n  ${JSON.stringify(one.events[0])}\n  raised: ${names(raised)}`);
  }
  for (const { start, raised } of result.benignHits) {
    console.log(`\nbenign: ${JSON.stringify(start)}\n  raised: ${names(raised)}`);
  }
}

function names(raised: readonly { alert: string; level: string }[]): string {
  return raised.map(({ alert, level }) => `${alert} ${level}`).join(', ') || 'nothing';
}
