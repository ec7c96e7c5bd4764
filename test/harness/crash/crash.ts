import { systemClock } from '../../../src/core/base/clock.ts';
import { Chain, type Settings } from './chain.ts';
import { Random } from './random.ts';

/** Kills of one agent between two checks of the events, with one set of settings. */
const KILLS_PER_LOOK = 10;
const KILLS_PER_CHAIN = 20;
/** New alerts are limited in an hour; see AlertLoad. */
const KILLS_PER_CHAIN_OF_ALERTS = 10;
const MAX_SHOWN = 10;

interface Total {
  runs: number;
  events: number;
  delivered: number;
  repeated: number;
  missing: number;
  unheard: number;
  readonly dropped: Record<string, number>;
  readonly also: Record<string, number>;
}

type Kind = Pick<Settings, 'source' | 'aggregated' | 'alerts'>;

interface Options extends Partial<Kind> {
  /** Kills. */
  readonly runs: number;
  readonly seed: number;
  readonly say: (line: string) => void;
}

/** Kills agents, and reports the outcome of the events. The files of a failed chain are kept. */
export async function crash({
  runs,
  seed,
  say,
  source = 'auditLog',
  aggregated = false,
  alerts = false,
}: Options): Promise<{ total: Total; violations: readonly string[] }> {
  const began = systemClock.monotonic();
  const total: Total = { runs: 0, events: 0, delivered: 0, repeated: 0, missing: 0, unheard: 0, dropped: {}, also: {} };
  const violations: string[] = [];
  for (let number = 0; total.runs < runs && violations.length === 0; number += 1) {
    const chainSeed = seed + number;
    const settings = { source, aggregated, alerts, ...settingsOf(number, new Random(chainSeed)) };
    const longest = alerts ? KILLS_PER_CHAIN_OF_ALERTS : KILLS_PER_CHAIN;
    say(`chain ${number}, seed ${chainSeed}: ${JSON.stringify(settings)}`);
    const found = await runChain(Math.min(longest, runs - total.runs), chainSeed, settings, total, say);
    violations.push(...found);
  }
  say(`in all: ${describe(total)}, ${Math.round(systemClock.monotonic() - began)} ms`);
  return { total, violations };
}

async function runChain(kills: number, seed: number, settings: Settings, total: Total, say: Options['say']) {
  const chain = await Chain.begin(seed, settings);
  let found: string[] = [];
  try {
    while (chain.kills < kills && found.length === 0) {
      // The last kill of a chain with alerts is between the two halves of the attempts, after a clean stop.
      if (settings.alerts && chain.kills === kills - 1) {
        const { violations } = await chain.settle();
        found = [...violations];
        await chain.killWithOpenWindows();
      } else await chain.kill();
      if (chain.kills % KILLS_PER_LOOK !== 0 && chain.kills !== kills) continue;
      const { violations, books, also = {}, ...counts } = await chain.settle();
      found = [...violations];
      const { kills: runs, appended: events } = chain;
      const dropped = { ...books.dropped };
      const sofar: Total = { ...counts, runs, events, dropped, also: { ...also } };
      say(`  ${describe(sofar)}`);
      if (chain.kills === kills || found.length > 0) add(total, sofar);
    }
  } catch (error) {
    found.push((error as Error).stack ?? String(error));
  }
  for (const violation of found.slice(0, MAX_SHOWN)) say(`  VIOLATION: ${violation}`);
  if (found.length > MAX_SHOWN) say(`  and ${found.length - MAX_SHOWN} more`);
  if (found.length > 0) say(`  seed ${seed}; the files are in ${chain.directory}`);
  try {
    await chain.end({ keep: found.length > 0 });
  } catch (error) {
    found.push((error as Error).message);
    say(`  VIOLATION: ${(error as Error).message}`);
  }
  return found;
}

/** Settings that differ between chains, so that four chains cover each important value once. */
const settingsOf = (number: number, random: Random): Omit<Settings, keyof Kind> => {
  const isSmall = number % 4 === 3;
  return {
    priority: number % 2 === 0 ? 'Low' : 'High',
    faults: number % 4 !== 0,
    maxMessageSizeInBytes: isSmall ? 16_384 : random.pick([8_192, 16_384, 65_536]),
    maxLocalCacheSizeInBytes: isSmall ? 131_072 : 2_560_000,
  };
};

function add(total: Total, one: Total): void {
  total.runs += one.runs;
  total.events += one.events;
  total.delivered += one.delivered;
  total.repeated += one.repeated;
  total.missing += one.missing;
  total.unheard += one.unheard;
  for (const which of ['dropped', 'also'] as const)
    for (const [name, count] of Object.entries(one[which])) total[which][name] = (total[which][name] ?? 0) + count;
}

function describe({ runs, events, delivered, repeated, missing, unheard, dropped, also }: Total): string {
  const reasons = Object.entries(dropped).filter(([, count]) => count > 0);
  const told = reasons.map(([reason, count]) => `${count} ${reason}`).join(', ') || 'none';
  const away = unheard > 0 ? `, ${unheard} while nobody listened` : '';
  const others = Object.entries(also)
    .map(([name, count]) => `; ${name}: ${count}`)
    .join('');
  const counts = `${runs} kills, ${events} events: ${delivered} delivered, ${repeated} repeated, ${missing} missing${away}; dropped: ${told}`;
  return `${counts}${others}`;
}
