import {
  RECOMMENDATION_IDS,
  RECOMMENDATIONS,
  type RecommendationId,
  SEVERITIES,
} from '../../posture/recommendation.ts';
import { hanging, widthOf } from '../wrap.ts';
import type { ShownPosture, ShownRecommendation } from './own.ts';

/* The posture as text, for a terminal of any width. */

const LABEL = 12;

/** Recommendations with what to do, the most severe first; then those that could not be assessed; then the facts. */
export function describePosture({ source, at, posture }: ShownPosture, columns?: number): string[] {
  const width = widthOf(columns);
  const { recommendations = {}, notJudged = {} } = posture;
  const inForce = RECOMMENDATION_IDS.flatMap((id) => {
    const recommendation = recommendations[id];
    return recommendation === undefined ? [] : [{ id, recommendation }];
  }).toSorted((a, b) => SEVERITIES.indexOf(a.recommendation.severity) - SEVERITIES.indexOf(b.recommendation.severity));
  const open = RECOMMENDATION_IDS.filter((id) => notJudged[id] !== undefined);
  const line = (label: string, text: string) => hanging(`    ${label.padEnd(LABEL - 2)}`, text, width, LABEL + 2);
  return [
    ...inForce.flatMap(({ id, recommendation }) => [...block(id, recommendation, width, line), '']),
    ...(open.length === 0
      ? []
      : ['Not assessed:', ...open.flatMap((id) => hanging(`  ${id}  `, notJudged[id] ?? '', width, 4)), '']),
    ...facts(posture).flatMap(([label, text]) => hanging(label.padEnd(LABEL), text, width, LABEL)),
    ...hanging('', `${inForce.length} recommendations; ${SOURCES[source]}, ${at}.`, width, 2),
  ];
}

const SOURCES = {
  agent: 'by the running agent',
  snapshots: 'by snapshots of this command, since no agent is running',
} as const;

function block(
  id: RecommendationId,
  { severity, count, since, reason }: ShownRecommendation,
  width: number,
  line: (label: string, text: string) => string[],
): string[] {
  const { title, remedy } = RECOMMENDATIONS[id];
  return [
    ...hanging(`${severity.toUpperCase()}  `, `${title(count)}.`, width, 4),
    ...line('do', remedy),
    ...(since === undefined ? [] : line('since', since)),
    ...(reason === undefined ? [] : line('but now', `not assessed: ${reason}`)),
    ...line('id', id),
  ];
}

function facts({ exposure, firewall, accounts, baseline }: ShownPosture['posture']): [string, string][] {
  const passwords =
    accounts?.withoutPassword === undefined ? 'passwords unknown' : `${accounts.withoutPassword} without a password`;
  return [
    ['open ports', exposure === undefined ? 'unknown' : exposure.openPorts === 0 ? 'none' : exposure.ports],
    [
      'firewall',
      firewall === undefined
        ? 'unknown'
        : `in ${firewall.inbound}, forward ${firewall.forward}, out ${firewall.outbound}; permissive rules: ${firewall.permissiveRules ?? 'unknown'}`,
    ],
    [
      'accounts',
      accounts === undefined
        ? 'unknown'
        : `${accounts.humans} of people, ${accounts.uidZero} with user id 0, ${passwords}`,
    ],
    [
      'baseline',
      baseline === undefined
        ? 'unknown'
        : `${baseline.passed} passed, ${baseline.failed} failed, ${baseline.errors} not assessed, ${baseline.skipped} skipped`,
    ],
  ];
}
