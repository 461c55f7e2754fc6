//! A macro that forwards methods of an enum to the value inside its variant; `livekit` imports it.

/// Declares methods on an enum whose variants each hold one value with those methods.
///
/// ```
/// struct Cat;
/// impl Cat {
///     fn legs(&self) -> u32 {
///         4
///     }
/// }
/// enum Animal {
///     Cat(Cat),
/// }
/// impl Animal {
///     libwebrtc::enum_dispatch!(
///         [Cat];
///         pub fn legs(self: &Self) -> u32;
///     );
/// }
/// assert_eq!(Animal::Cat(Cat).legs(), 4);
/// ```
#[macro_export]
macro_rules! enum_dispatch {
    (@call [$($variant:ident),+] $this:ident $name:ident $args:tt) => {
        match $this {
            $(Self::$variant(value) => $crate::enum_dispatch!(@one value $name $args),)+
        }
    };
    (@one $value:ident $name:ident ($($arg:ident),*)) => {
        $value.$name($($arg),*)
    };
    (
        $variants:tt;
        $($vis:vis fn $name:ident($this:ident: $this_type:ty $(, $arg:ident: $arg_type:ty)* $(,)?) -> $ret:ty;)+
    ) => {
        $(
            #[allow(missing_docs)]
            #[inline]
            $vis fn $name($this: $this_type $(, $arg: $arg_type)*) -> $ret {
                $crate::enum_dispatch!(@call $variants $this $name ($($arg),*))
            }
        )+
    };
}
