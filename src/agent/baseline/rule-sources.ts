import type { Rule } from './rule.ts';

/** Other benchmarks with the same check, as text: `CIS Debian 13 7.1.1`. */
export function sourcesOf({ oms, asb, ssg, cisDeb13, other }: NonNullable<Rule['source']>): string[] {
  return [
    ...(cisDeb13 === undefined ? [] : [`CIS Debian 13 ${cisDeb13}`]),
    ...(ssg ?? []).map((name) => `ComplianceAsCode ${name}`),
    ...(oms === undefined ? [] : [`OMS ${oms}`]),
    ...(asb === undefined ? [] : [`azure-osconfig ${asb}`]),
    ...(other === undefined ? [] : [other]),
  ];
}

/** The same in one line: `CIS Debian 13 7.1.1; ComplianceAsCode file_owner_x, file_groupowner_x`. */
export const sourceLine = ({ ssg, ...others }: NonNullable<Rule['source']>): string =>
  sourcesOf(ssg === undefined ? others : { ...others, ssg: [ssg.join(', ')] }).join('; ');
