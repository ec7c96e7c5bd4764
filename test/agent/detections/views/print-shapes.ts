/* Prints how often the subjects of 200 starts, and their first two views, change their shape: as JSON, for starts without and
 * with a working directory. */
import { subjectOf } from '../../../../src/agent/detections/subjects.ts';
import { changesOfShape } from '../../../shapes.ts';

const changes = [undefined, '/root'].flatMap((CurrentDirectory) => {
  const starts = Array.from({ length: 200 }, (_, number) => {
    const argv = ['curl', '-o', `/tmp/a${number}`, '-o', `/tmp/b${number}`, 'http://x/a', 'http://x/b'];
    const payload = { Executable: '/usr/bin/curl', CommandLine: argv.join(' '), CurrentDirectory };
    const start = subjectOf({ name: 'ProcessCreate', payload, time: 0, argv });
    if (start === undefined) throw new Error('a start has no subject');
    return start;
  });
  return [starts, ...[0, 1].map((at) => starts.map(({ views }) => views[at] ?? {}))].map(changesOfShape);
});
process.stdout.write(JSON.stringify(changes));
