import { existsSync, readFileSync } from 'node:fs';

/** In the program's folder if it is bundled, otherwise at the top of the repository. */
const PLACES = ['./package.json', '../../../../package.json'].map((place) => new URL(place, import.meta.url));

const place = PLACES.find((url) => existsSync(url)) ?? import.meta.url;

/** The agent's version, from package.json. */
export const VERSION: string = (JSON.parse(readFileSync(new URL(place), 'utf8')) as { version: string }).version;
