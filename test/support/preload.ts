/** Before every test file (bunfig.toml): generous, because a loaded machine may be slow and only a hang may fail by the clock. */
import { setDefaultTimeout } from 'bun:test';

setDefaultTimeout(120_000);
