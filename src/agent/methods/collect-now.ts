import * as v from 'valibot';
import { seconds } from '../../core/base/duration.ts';
import { method } from '../../core/contract/method.ts';
import { collectors } from '../collectors/index.ts';
import type { MethodParts } from './parts.ts';

const periodic = collectors.filter(({ category }) => category === 'Periodic').map(({ name }) => name);

export const collectNow = method({
  name: 'collectNow',
  summary:
    'Takes snapshots now and queues them: of each event three times in a row, then once in 5 minutes. The schedule of regular snapshots does not change.',
  permission: 'collectNow',
  request: v.strictObject({
    events: v.optional(
      v.pipe(
        v.array(v.picklist(periodic, 'must be the name of a Periodic event'), 'must be a list of Periodic events'),
        v.minLength(1, 'must name at least one event'),
        v.maxLength(periodic.length, `must name at most ${periodic.length} events`),
        v.description('Names of Periodic events; all of them if absent.'),
      ),
    ),
  }),
  answer: v.strictObject({
    collected: v.pipe(
      v.record(v.string(), v.number()),
      v.description('Number of elements of each snapshot, by event.'),
    ),
    notCollected: v.pipe(
      v.record(v.string(), v.string()),
      v.description('The problem with each event that was not collected.'),
    ),
  }),
  rest: seconds(10),
  async run({ events = periodic }, { takeNow }: MethodParts) {
    const taken = Object.entries(await takeNow(events));
    return {
      collected: Object.fromEntries(taken.flatMap(([name, of]) => ('elements' in of ? [[name, of.elements]] : []))),
      notCollected: Object.fromEntries(taken.flatMap(([name, of]) => ('problem' in of ? [[name, of.problem]] : []))),
    };
  },
});
