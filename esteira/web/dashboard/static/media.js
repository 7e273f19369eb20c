// A filter that is chosen is shown at once; whoever has no script presses the button.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-submit=change]");
  if (form && event.target.matches("select")) form.requestSubmit();
});

// An empty field says nothing, and need not stand in the address.
document.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

async function copied(content) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(content);
  const field = document.createElement("textarea");
  field.value = content;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

document.addEventListener("click", (event) => {
  const opens = event.target.closest("[data-opens]");
  if (opens) document.getElementById(opens.dataset.opens)?.showModal();
  if (event.target.closest("[data-closes]")) event.target.closest("dialog").close();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const before = button.textContent;
  await copied(button.dataset.copy);
  button.textContent = button.dataset.copied;
  button.focus();
  setTimeout(() => (button.textContent = before), 2000);
});
