// Logging in: with a password, a token or a login link. No credentials stay in the page.

import { element } from '../elements';
import type { Api, LogIn, LoginState } from './api';

/** Calls `enter` when the user has logged in. */
export class Login {
  private readonly place = element('login', HTMLElement);
  private readonly user = element('user', HTMLInputElement);
  private readonly password = element('password', HTMLInputElement);
  private readonly project = element('project', HTMLInputElement);
  private readonly domain = element('domain', HTMLInputElement);
  private readonly token = element('token', HTMLInputElement);
  private readonly wrong = element('login-wrong', HTMLElement);
  private isBusy = false;

  constructor(
    private readonly api: Api,
    private readonly enter: () => void,
  ) {
    element('by-password', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      void this.withPassword();
    });
    element('by-token', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      void this.withToken();
    });
  }

  get isShown(): boolean {
    return !this.place.hidden;
  }

  /** Asks to log in. `wrong` says why that is needed again, or why a login failed; it may be empty. */
  show({ methods, keystone }: LoginState, wrong: string): void {
    const has = (method: LoginState['methods'][number]): boolean => methods.includes(method);
    element('by-password', HTMLFormElement).hidden = !has('password');
    element('of-keystone', HTMLElement).hidden = !keystone;
    element('by-link', HTMLElement).hidden = !has('link');
    this.wrong.textContent = wrong;
    if (this.isShown) return;
    this.place.hidden = false;
    (has('password') ? this.user : this.token).focus();
  }

  hide(): void {
    this.place.hidden = true;
    this.wrong.textContent = '';
    for (const field of [this.password, this.token]) field.value = '';
  }

  private async withPassword(): Promise<void> {
    const [user, project, domain] = [this.user, this.project, this.domain].map(({ value }) => value.trim());
    if (!user) return this.refuse('Enter your user name.', this.user);
    if (!this.password.value) return this.refuse('Enter your password.', this.password);
    const how = { user, password: this.password.value, ...(project && { project }), ...(domain && { domain }) };
    await this.attempt(how, this.password);
  }

  private async withToken(): Promise<void> {
    const token = this.token.value.trim();
    if (!token) return this.refuse('Paste your API token here.', this.token);
    await this.attempt({ token }, this.token);
  }

  private async attempt(how: LogIn, field: HTMLInputElement): Promise<void> {
    if (this.isBusy) return;
    this.isBusy = true;
    this.wrong.textContent = '';
    try {
      await this.api.logIn(how);
      this.hide();
      this.enter();
    } catch (error) {
      this.refuse(error instanceof Error ? error.message : String(error), field);
    }
    this.isBusy = false;
  }

  private refuse(why: string, field: HTMLInputElement): void {
    this.wrong.textContent = why;
    field.focus();
    field.select();
  }
}
