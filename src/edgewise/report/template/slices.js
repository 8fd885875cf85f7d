for (const part of document.querySelectorAll(".scripted")) part.hidden = false;
for (const article of document.querySelectorAll("[data-slices]")) {
  const stacks = JSON.parse(article.querySelector("script[type='application/json']").textContent);
  const bar = article.querySelector(".scroller"), choice = bar.querySelector("select");
  const sliders = [...bar.querySelectorAll("input[type=range]")];
  const figuresOf = plane => [...article.querySelectorAll(`.slice[data-plane="${plane}"]`)];
  const draw = (plane, at) => {
    const stack = stacks[plane], name = `slice ${stack.slices[at]}`;
    for (const figure of figuresOf(plane)) {
      const svg = figure.querySelector("svg"), caption = figure.querySelector("figcaption");
      const title = `${stack.name}, ${name}`, label = svg.getAttribute("aria-label");
      svg.querySelector("image").setAttribute("href", stack.pictures[at]);
      let halo = "";
      for (const path of svg.querySelectorAll("path[data-label]")) {
        const paths = path.classList.contains("reference") ? stack.reference : stack.predictions[figure.dataset.run];
        const line = paths[path.dataset.label][at];
        path.setAttribute("d", line);
        halo += line;
      }
      svg.querySelector(".halo").setAttribute("d", halo);
      svg.setAttribute("aria-label", label.slice(0, label.length - caption.textContent.length) + title);
      caption.textContent = title;
    }
    sliders[plane].value = at;
    sliders[plane].setAttribute("aria-valuetext", name);
    sliders[plane].parentElement.querySelector("output").textContent = name;
  };
  sliders.forEach((slider, plane) => {
    const figures = figuresOf(plane);
    const mark = () => { for (const figure of figures) figure.classList.toggle("active", document.activeElement === slider); };
    let turned = 0;
    const turn = event => {
      if (event.ctrlKey || !(event.shiftKey || document.activeElement === slider)) return;
      event.preventDefault();
      const by = (event.deltaY || event.deltaX) * [1, 16, 100][event.deltaMode];
      turned = turned * by < 0 ? by : turned + by;
      const steps = Math.trunc(turned / 40);
      if (!steps) return;
      turned = 0;
      const at = Number(slider.value) - Math.sign(steps);
      if (at >= 0 && at <= Number(slider.max)) draw(plane, at);
    };
    slider.addEventListener("input", () => draw(plane, Number(slider.value)));
    slider.addEventListener("focus", mark);
    slider.addEventListener("blur", mark);
    for (const part of [slider, ...figures]) part.addEventListener("wheel", turn, { passive: false });
    for (const figure of figures) figure.addEventListener("click", () => slider.focus({ preventScroll: true }));
    draw(plane, stacks[plane].start);
  });
  choice?.addEventListener("change", () => {
    stacks.forEach((stack, plane) => {
      const hidden = choice.value !== "" && Number(choice.value) !== plane;
      for (const part of [...figuresOf(plane), sliders[plane].parentElement]) part.hidden = hidden;
    });
    for (const planes of article.querySelectorAll(".planes")) planes.classList.toggle("one", choice.value !== "");
  });
  bar.querySelector("input[type=checkbox]").addEventListener("change", event => {
    article.classList.toggle("bare", !event.target.checked);
  });
  bar.hidden = false;
}
