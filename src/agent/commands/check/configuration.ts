import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { shellWord } from '../../../core/base/text.ts';
import { refuseExampleHub } from '../../config/local.ts';
import { exposedFolder } from './exposed-folder.ts';
import { note, ok, wrong } from './finding.ts';
import { octal, othersCanWrite } from './modes.ts';
import { processOf, userOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'configuration';

/** Who can change the configuration file. Its content was validated before the checks run. */
export const configuration: Check = {
  name: NAME,
  run({ configFile, local, agent }) {
    refuseExampleHub(local, configFile);
    if (!existsSync(configFile)) return [ok(NAME, 'comes from environment variables only, and is valid')];
    const stats = statSync(configFile);
    if (othersCanWrite(stats)) {
      const problem = `other users can write to ${configFile} (mode ${octal(stats.mode)}) and disable the agent`;
      return [wrong(NAME, problem, `Run: chmod go-w ${shellWord(configFile)}`)];
    }
    const exposed = exposedFolder(dirname(configFile), agent);
    if (exposed !== undefined) return [wrong(NAME, `${exposed.problem}, ${configFile} among them`, exposed.remedy)];
    if (stats.uid !== 0 && stats.uid !== userOf(processOf(agent))) {
      const problem = `${configFile} is valid; it belongs to user ${stats.uid}, who can change it`;
      return [note(NAME, problem, `Unless that is intended, run: chown root ${shellWord(configFile)}`)];
    }
    return [ok(NAME, `${configFile} is valid`)];
  },
};
