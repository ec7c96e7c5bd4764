import { type Duration, seconds } from '../../../core/base/duration.ts';
import type { Hit } from '../subject.ts';

/** A command line without quotes and separators, so that a line is found within another line that quotes it. */
export const plainLine = (line: string): string => line.replace(/["'\\\s]/g, '');

/** Maximum age of a start whose children are merged with it. */
const WINDOW = seconds(10);
const MAX_CHAINS = 32;
const MAX_PROCESSES = 16;
/** In UTF-16 units. The alert does not show a longer line completely, so that a child could hide in it. */
const LONGEST_LINE = 1_024;

interface Chain {
  readonly key: string;
  readonly at: Duration;
  readonly rule: string;
  readonly selections: string;
  readonly line: string;
  readonly processes: Set<number>;
}

/**
 * Starts that raised an alert, to recognise their children: for `timeout 5 nohup sh -c …`, three processes match for the same
 * reason. A start is merged with an earlier one if it is the same process or its child, the same selection of the rule matched,
 * and the earlier line contains the later one completely.
 */
export class StartChains {
  #chains: Chain[] = [];

  /** @returns the key of the alert that an earlier start in the chain raised */
  find(hit: Hit, now: Duration): string | undefined {
    this.#chains = this.#chains.filter(({ at }) => now - at < WINDOW);
    if (this.#chains.length === 0 || !isStart(hit)) return undefined;
    const [own, parent] = [idOf(hit, 'ProcessId'), idOf(hit, 'ParentProcessId')];
    const selections = selectionsOf(hit);
    const line = lineOf(hit);
    if (own === undefined || line.length > LONGEST_LINE) return undefined;
    const chain = this.#chains.find(
      ({ rule, selections: ofChain, processes, line: ofFirst }) =>
        rule === hit.rule.id &&
        ofChain === selections &&
        (processes.has(own) || (parent !== undefined && processes.has(parent))) &&
        ofFirst.includes(plainLine(line)),
    );
    if (chain !== undefined && chain.processes.size < MAX_PROCESSES) chain.processes.add(own);
    return chain?.key;
  }

  /** Records a start that raised the alert with this key. */
  add(hit: Hit, key: string, now: Duration): void {
    const own = idOf(hit, 'ProcessId');
    const line = lineOf(hit);
    if (!isStart(hit) || own === undefined || line.length > LONGEST_LINE) return;
    const { id: rule } = hit.rule;
    const chain = {
      key,
      at: now,
      rule,
      selections: selectionsOf(hit),
      line: plainLine(line),
      processes: new Set([own]),
    };
    this.#chains = [...this.#chains, chain].slice(-MAX_CHAINS);
  }
}

/** Correlations are about several events. */
const isStart = ({ subject, count }: Hit): boolean => subject.source === 'process_creation' && count === undefined;

/** A trusted actor's hit is not the cause of another actor's. */
const selectionsOf = ({ selections = [], during = '' }: Hit): string => [...selections, during].join(';');

const lineOf = ({ subject }: Hit): string => subject.fields.CommandLine ?? '';

function idOf({ subject }: Hit, name: 'ProcessId' | 'ParentProcessId'): number | undefined {
  const id = subject.event.payload[name];
  return typeof id === 'number' && id > 0 ? id : undefined;
}
